//! The control plane is killed again and again, while people post and cancel and jobs run. What was acknowledged is kept, nothing runs
//! twice, and what is shown is true again soon after the last kill.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use em_api::experiment::ExperimentList;
use em_api::status::Phase;
use em_e2e::{Cluster, ControlPlane, EmbeddingServer, binary};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{experiment, jobs};

const POLL: Duration = Duration::from_secs(2);
const SETTLE: Duration = Duration::from_secs(2);

/// Name, and whether its cancellation was acknowledged.
type Acknowledged = BTreeMap<String, bool>;

#[test]
fn what_was_acknowledged_outlives_every_kill() {
    let number = |name: &str, otherwise| std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"));
    let (kills, seed) = (number("EM_CHAOS_KILLS", 10), number("EM_CHAOS_SEED", 1));
    let cluster = Cluster::up();
    let settings =
        ["--poll-interval", "2s", "--fast-poll-interval", "2s", "--settle-time", "2s", "--slurm-reads-per-minute", "120"];
    let rest = ["--submit-rate", "0", "--claim-timeout", "20s", "--agent-silent-after", "10s"];
    let mut plane = ControlPlane::start_with(&cluster, &[settings.as_slice(), &rest].concat());
    let server = EmbeddingServer::start();
    let people = People::start(&plane, &server, seed);

    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(rng.random_range(100..3_000)));
        plane.kill();
        std::thread::sleep(Duration::from_millis(rng.random_range(0..500)));
        plane.restart();
    }
    let last = Instant::now();
    let acknowledged = people.stop();
    shown_is_true(&cluster, &plane, last);

    let limit = Duration::from_secs(60 + 3 * acknowledged.len() as u64);
    for (name, cancelled) in &acknowledged {
        let phase = plane.wait_for_end(name, limit).status.phase;
        let allowed = if *cancelled { [Phase::Cancelled, Phase::Succeeded].as_slice() } else { &[Phase::Succeeded] };
        assert!(allowed.contains(&phase), "{name} (cancelled: {cancelled}) is {}\n{}", phase.as_str(), plane.log());
    }
    let cancelled = acknowledged.values().filter(|cancelled| **cancelled).count();
    println!("{kills} kills, {} creates acknowledged, {cancelled} of them cancelled", acknowledged.len());
    assert!(acknowledged.len() as u64 >= kills / 2 && cancelled > 0, "too little happened: {acknowledged:?}");
    nothing_ran_twice(&cluster, &plane);
}

/// Soon after the last kill the live jobs of Slurm are the live jobs that are shown, in the same states.
fn shown_is_true(cluster: &Cluster, plane: &ControlPlane, last: Instant) {
    em_e2e::wait_until("what is shown is true", 4 * (2 * POLL + SETTLE), || {
        let before = in_slurm(cluster);
        let shown = shown(plane);
        (before == shown && before == in_slurm(cluster)).then_some(())
    });
    println!(
        "shown is true {:.1} s after the last restart; two polls and the settle time are {:?}",
        last.elapsed().as_secs_f64(),
        2 * POLL + SETTLE
    );
}

fn in_slurm(cluster: &Cluster) -> BTreeSet<(String, String)> {
    let live = jobs::live(cluster).into_iter().filter(|(.., state)| state != "COMPLETING");
    live.map(|(id, _, state)| (id, state)).collect()
}

fn shown(plane: &ControlPlane) -> BTreeSet<(String, String)> {
    let list: ExperimentList = plane.get("/experiments?limit=500");
    let jobs = list.items.into_iter().flat_map(|one| one.status.jobs);
    let live = jobs.filter_map(|job| Some((job.id?, job.state)));
    live.filter(|(_, state)| state == "PENDING" || state == "RUNNING").collect()
}

/// Each shard was claimed once at most, by one job; each name was submitted once; no job is left.
fn nothing_ran_twice(cluster: &Cluster, plane: &ControlPlane) {
    for (shard, attempts) in jobs::attempts(&plane.job_dir()) {
        let claims: Vec<_> = attempts.iter().flat_map(|attempt| &attempt.claims).collect();
        assert!(claims.len() <= 1, "shard {shard} was claimed by {claims:?}");
    }
    let mut names = cluster.job_names();
    names.sort();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all, "a job was submitted twice");
    em_e2e::wait_until("no job is left", Duration::from_secs(20), || jobs::live(cluster).is_empty().then_some(()));
}

/// They post experiments, and cancel some, with `emctl`, whether the server is there or not.
struct People {
    acknowledged: Arc<Mutex<Acknowledged>>,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl People {
    fn start(plane: &ControlPlane, server: &EmbeddingServer, seed: u64) -> Self {
        let (acknowledged, stop) = (Arc::<Mutex<Acknowledged>>::default(), Arc::<AtomicBool>::default());
        let files: Vec<(String, PathBuf)> = (0..400)
            .map(|number| {
                let name = format!("kept-{number}");
                let file = plane.file(&format!("{name}.yaml"), &experiment(&name, 1 + number % 2, server));
                (name, file)
            })
            .collect();
        let (state_dir, told, until) = (plane.state_dir(), acknowledged.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let mut rng = ChaCha8Rng::seed_from_u64(seed + 1);
            for (name, file) in files {
                if until.load(Ordering::Relaxed) {
                    return;
                }
                if emctl(&state_dir, &["submit", "-f", &file.to_string_lossy()]) {
                    held(&told).insert(name.clone(), false);
                }
                if rng.random_bool(0.2) && emctl(&state_dir, &["cancel", &name]) {
                    held(&told).insert(name, true);
                }
                std::thread::sleep(Duration::from_millis(rng.random_range(200..1_500)));
            }
        });
        Self { acknowledged, stop, thread }
    }

    fn stop(self) -> Acknowledged {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("people do not panic");
        held(&self.acknowledged).clone()
    }
}

fn held(acknowledged: &Mutex<Acknowledged>) -> std::sync::MutexGuard<'_, Acknowledged> {
    acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether it was acknowledged.
fn emctl(state_dir: &Path, args: &[&str]) -> bool {
    let mut command = Command::new(binary("emctl"));
    command.arg("--state-dir").arg(state_dir).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().expect("emctl").success()
}
