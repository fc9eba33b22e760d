//! The storm: many submissions, each fault many times, the controller killed in between.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use em_api::status::{EventList, Phase};
use em_e2e::{Cluster, ControlPlane, EmbeddingServer, Fault, FaultySbatch};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::jobs::{self, AttemptDir};
use super::{experiment, plane};

/// Jobs of one experiment at most: several experiments are open at a time.
const SHARDS_EACH: usize = 30;
const FOREIGN: &str = "somebody-elses-work";
const OTHER_SERVER: &str = "em-0badcafe-01j0000000000000000000000";

#[test]
fn no_job_is_lost_none_is_doubled_and_foreign_jobs_stay() {
    let shards: usize = std::env::var("EM_CHAOS_SUBMISSIONS").map_or(24, |text| text.parse().expect("a number"));
    let (least, seed) = (shards / 7, std::env::var("EM_CHAOS_SEED").map_or(1, |text| text.parse().expect("a number")));
    println!("{shards} shards, each fault at least {least} times, seed {seed}");
    let cluster = Cluster::up();
    let sbatch = FaultySbatch::new(&plan(shards, seed));
    let plane = plane(&cluster, &sbatch);
    let server = EmbeddingServer::start();
    for name in [FOREIGN, OTHER_SERVER] {
        cluster.slurm("sbatch", &["-J", name, "-t", "60", "-n", "1", "--mem=100", "-o", "/dev/null", "--wrap", "sleep 3000"]);
    }
    // A controller that dies within its first seconds forgets jobs: these must be in its saved state.
    cluster.stop_controller();
    cluster.start_controller();
    let foreign = running(&cluster, 2);

    let names: Vec<String> = (0..shards.div_ceil(SHARDS_EACH)).map(|number| format!("storm-{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        let of_this = SHARDS_EACH.min(shards - number * SHARDS_EACH);
        let file = plane.file(&format!("{name}.yaml"), &experiment(name, of_this, &server));
        plane.emctl_ok(&["submit", "-f", &file.to_string_lossy()]);
    }
    let kills = kill_controllers_until_done(&cluster, &plane, &sbatch, &names, shards);

    println!("calls of sbatch: {:?}; the controller was killed {kills} times", sbatch.met());
    for fault in Fault::SINGLE {
        assert!(sbatch.met_of(fault) >= least, "{fault:?} was met {} times only, {least} wanted", sbatch.met_of(fault));
    }
    for name in &names {
        let done = plane.experiment(name);
        assert_eq!(done.status.phase, Phase::Succeeded, "{name} lost something: {:#?}\n{}", done.status, plane.log());
    }
    assert_eq!(running(&cluster, 2), foreign, "jobs of others were touched");
    one_chain_each(&plane, &names, shards);
    let ours: Vec<_> = jobs::live(&cluster).into_iter().filter(|(_, name, _)| name != FOREIGN && name != OTHER_SERVER).collect();
    assert!(ours.is_empty(), "jobs are left over: {ours:?}");
}

/// Each single fault equally often, and some doubled ones, in an order that the seed decides. As many as there are calls for sure.
fn plan(shards: usize, seed: u64) -> Vec<Fault> {
    let mut plan: Vec<Fault> = Fault::SINGLE.into_iter().flat_map(|fault| std::iter::repeat_n(fault, shards / 7 + 1)).collect();
    plan.extend(std::iter::repeat_n(Fault::Doubled, shards / 20));
    plan.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    plan
}

/// Id, state and restarts of the jobs that are not ours, once so many run.
fn running(cluster: &Cluster, count: usize) -> Vec<String> {
    em_e2e::wait_until("foreign jobs run", Duration::from_secs(60), || {
        let text = cluster.slurm("squeue", &["-h", "-t", "all", "-O", "JobID:|,Name:|,State:|,RestartCnt:|,SubmitTime:|"]);
        let mut lines: Vec<String> =
            text.lines().filter(|line| line.contains(FOREIGN) || line.contains(OTHER_SERVER)).map(str::to_owned).collect();
        lines.sort();
        (lines.len() == count && lines.iter().all(|line| line.contains("RUNNING"))).then_some(lines)
    })
}

/// Kills and restarts the controller each time when a tenth of the submissions was made (a third, when there are few).
fn kill_controllers_until_done(
    cluster: &Cluster,
    plane: &ControlPlane,
    sbatch: &FaultySbatch,
    names: &[String],
    shards: usize,
) -> usize {
    let step = if shards >= 100 { shards / 10 } else { shards / 3 };
    let (mut kills, mut due) = (0, step);
    let limit = Duration::from_secs(120 + 4 * shards as u64);
    let begin = Instant::now();
    loop {
        if sbatch.calls() >= due && due <= shards {
            cluster.kill_controller();
            std::thread::sleep(Duration::from_millis(1_500));
            cluster.start_controller();
            (kills, due) = (kills + 1, due + step);
        }
        let open: Vec<_> = names.iter().map(|name| plane.experiment(name)).filter(|one| !one.status.phase.ended()).collect();
        if open.is_empty() {
            assert!(kills >= 2, "the controller was killed {kills} times only");
            return kills;
        }
        let status: Vec<_> = open.iter().map(|one| (&one.metadata.name, &one.status.message, one.status.trials)).collect();
        assert!(begin.elapsed() < limit, "not done after {limit:?}: {status:#?}\n{}", plane.log());
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// Each shard has one claimed chain of epochs; a second one only where the controller lost the job of the first.
fn one_chain_each(plane: &ControlPlane, names: &[String], shards: usize) {
    let by_shard = jobs::attempts(&plane.job_dir());
    assert_eq!(by_shard.len(), shards, "each shard got a job");
    let mut lost: BTreeMap<String, usize> = BTreeMap::new();
    for name in names {
        let events: EventList = plane.get(&format!("/experiments/{name}/events"));
        for event in events.items.iter().filter(|event| event.reason == "JobVanished") {
            *lost.entry(event.message.clone()).or_default() += 1;
        }
    }
    let mut again = 0;
    for (shard, attempts) in &by_shard {
        let claimed: Vec<&AttemptDir> = attempts.iter().filter(|attempt| !attempt.claims.is_empty()).collect();
        assert!(!claimed.is_empty(), "shard {shard} is done and nobody claimed it");
        again += claimed.len() - 1;
        for attempt in &claimed {
            let epochs: Vec<u32> = attempt.claims.iter().map(|(epoch, _)| *epoch).collect();
            assert_eq!(epochs, (0..epochs.len() as u32).collect::<Vec<_>>(), "attempt {}", attempt.attempt);
            assert!(
                attempt.claims.iter().all(|(_, job)| *job == attempt.claims[0].1),
                "one job holds all epochs: {:?}",
                attempt.claims
            );
        }
    }
    println!("{shards} shards; {again} ran again, {} jobs were lost by the controller", lost.values().sum::<usize>());
    assert!(again <= lost.values().sum::<usize>(), "{again} shards ran twice, but only these jobs were lost: {lost:?}");
}
