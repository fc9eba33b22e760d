//! One simulated history: the real store, reconciler and submission protocol on a made-up clock, beside a made-up Slurm, agents and
//! users. Events happen in the order of their times; the server is stopped or killed between any two of its effects.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use em_api::{AttemptId, Timestamp};
use jiff::SignedDuration;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::agents::{Agent, FolderClaim, Grant, Step};
use super::checks::Checks;
use super::faults::SUBMIT_FAULTS;
use super::server::Server;
use super::slurm::{SimSlurm, Truth};
use super::users::Users;
use crate::clock::{self, now};
use crate::metrics::Metrics;
use crate::probe::simulated::{self as probe, Probe};
use crate::reconcile::world::after;
use crate::store::Store;

/// After the last fault: a history that takes longer to come to rest does not come to rest.
const CALM: SignedDuration = SignedDuration::from_hours(12);
const MOST_EVENTS: u32 = 20_000;

/// Agents, jobs, users and the server, at one moment.
pub(super) struct Stage {
    pub(super) rng: ChaCha8Rng,
    pub(super) dir: PathBuf,
    pub(super) store: Store,
    pub(super) metrics: Metrics,
    pub(super) server: Server,
    pub(super) slurm: Arc<SimSlurm>,
    pub(super) agents: Vec<Agent>,
    pub(super) users: Users,
    pub(super) folder_claims: HashMap<AttemptId, Vec<FolderClaim>>,
    pub(super) grants: HashMap<AttemptId, Vec<Grant>>,
    pub(super) checks: Checks,
    pub(super) faults_left: u32,
    next_fault: Timestamp,
    pub(super) look_at: Timestamp,
    /// Where the server is stopped in its next looks.
    pub(super) planned: Probe,
    /// Others act all the time while the server is at it.
    pub(super) crowded: bool,
    /// What happened, for people, and to compare two runs of one seed.
    pub(super) trace: Vec<String>,
    broken: Option<String>,
}

/// How a history ended.
pub(super) struct History {
    pub(super) seed: u64,
    /// The promise that was broken.
    pub(super) broken: Option<String>,
    pub(super) trace: Vec<String>,
}

impl Stage {
    /// Plays one seed to its end. `template`: an empty migrated database.
    pub(super) async fn play(seed: u64, template: &Path) -> History {
        clock::simulated::begin();
        probe::set(Probe::Off);
        let root = Path::new("/dev/shm");
        let folder = if root.is_dir() { tempfile::tempdir_in(root) } else { tempfile::tempdir() }.expect("a temporary folder");
        std::fs::copy(template, folder.path().join("em.db")).expect("the template");
        let metrics = Metrics::new();
        let store = open(folder.path(), &metrics).await;
        let at = now();
        let mut stage = Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            dir: folder.path().to_owned(),
            store,
            metrics,
            server: Server::Down { until: at },
            slurm: Arc::new(SimSlurm::new()),
            agents: Vec::new(),
            users: Users::default(),
            folder_claims: HashMap::new(),
            grants: HashMap::new(),
            checks: Checks::default(),
            faults_left: 0,
            next_fault: at,
            look_at: at,
            planned: Probe::Off,
            crowded: false,
            trace: Vec::new(),
            broken: None,
        };
        stage.begin().await;
        let mut events = 0;
        while stage.broken.is_none() && !stage.next().await {
            events += 1;
            if events > MOST_EVENTS {
                stage.broken(format!("no rest after {MOST_EVENTS} events"));
            }
        }
        if stage.broken.is_none() {
            stage.at_the_end().await;
        }
        stage.store.close().await;
        clock::simulated::end();
        History { seed, broken: stage.broken, trace: stage.trace }
    }

    async fn begin(&mut self) {
        self.faults_left = self.rng.random_range(4..18);
        self.crowded = self.rng.random_bool(0.25);
        let queue = self.rng.random_range(1..20);
        self.slurm.state().queue_s = queue;
        for name in ["train-1", "em-otherone-01h"] {
            self.slurm.state().add(name, "foreign", PathBuf::new(), 0);
        }
        if self.rng.random_bool(0.4) {
            let fault = SUBMIT_FAULTS.choose(&mut self.rng).copied();
            self.slurm.state().fault = fault;
        }
        self.user_creates().await;
        self.next_fault = self.in_seconds(1..30);
    }

    pub(super) fn broken(&mut self, promise: String) {
        self.note(format!("BROKEN: {promise}"));
        self.broken.get_or_insert(promise);
    }

    pub(super) fn note(&mut self, what: String) {
        let seconds = now().as_microsecond() as f64 / 1e6 - 1.8e9;
        self.trace.push(format!("{seconds:10.3}  {what}"));
    }

    pub(super) fn in_seconds(&mut self, range: std::ops::Range<i64>) -> Timestamp {
        after(now(), SignedDuration::from_secs(self.rng.random_range(range)))
    }

    pub(super) fn server_answers(&self) -> bool {
        !matches!(self.server, Server::Down { .. })
    }

    /// Something for the reconciler.
    pub(super) fn wake(&mut self) {
        self.look_at = self.look_at.min(after(now(), SignedDuration::from_millis(50)));
    }

    /// Goes to the next event and lets it happen. Whether all is over.
    async fn next(&mut self) -> bool {
        let calm = self.faults_left == 0;
        let mut due = match self.server {
            Server::Up(_) => self.look_at,
            Server::Down { until } => until,
            Server::Busy => unreachable!("looks end before the next event"),
        };
        if !calm {
            due = due.min(self.next_fault);
        }
        let agent = self.agents.iter().map(|agent| agent.next_at).min();
        let job = self.next_job_event();
        let due = [agent, job].into_iter().flatten().fold(due, Timestamp::min);
        self.pass_to(due);
        self.jobs_move();
        if let Some(index) = self.agents.iter().position(|agent| agent.next_at <= now()) {
            self.agent_acts(index).await;
        } else if !calm && self.next_fault <= now() {
            self.fault().await;
            self.faults_left -= 1;
            self.next_fault = self.in_seconds(1..25);
            if self.faults_left == 0 {
                self.calm_down().await;
            }
        } else {
            self.server_acts().await;
        }
        self.take_broken();
        self.faults_left == 0 && self.all_at_rest().await
    }

    fn take_broken(&mut self) {
        let said: Vec<String> = std::mem::take(&mut self.slurm.state().said);
        said.into_iter().for_each(|what| self.note(what));
        let broken: Vec<String> = std::mem::take(&mut self.slurm.state().broken);
        broken.into_iter().for_each(|promise| self.broken(promise));
    }

    async fn all_at_rest(&mut self) -> bool {
        if now().duration_since(self.checks.calm_since.unwrap_or_else(now)) > CALM {
            let open = self.store.open_experiments().await.expect("the database");
            let names: Vec<String> = open.iter().map(|one| format!("{} {}", one.stored.name, one.stored.phase.as_str())).collect();
            for attempt in open.iter().flat_map(|one| &one.attempts).filter(|attempt| !attempt.ended()) {
                self.note(format!("attempt {} of shard {}: {:?}", attempt.number, attempt.shard, attempt.state));
            }
            self.broken(format!("no rest {CALM:#} after the last fault: {names:?}"));
        }
        if !matches!(self.server, Server::Up(_)) || self.look_at.duration_since(now()) < SignedDuration::from_secs(1) {
            return false;
        }
        if !self.agents.is_empty() || self.slurm.state().jobs.iter().any(|job| job.live() && job.shard != "foreign") {
            return false;
        }
        self.store.open_experiments().await.expect("the database").is_empty()
    }

    pub(super) fn pass_to(&mut self, at: Timestamp) {
        let wait = at.duration_since(now());
        if let Ok(wait) = Duration::try_from(wait) {
            clock::simulated::pass(wait);
        }
    }

    fn next_job_event(&self) -> Option<Timestamp> {
        let slurm = self.slurm.state();
        let ours = slurm.jobs.iter().filter(|job| job.shard != "foreign");
        let events = ours.filter_map(|job| match job.truth {
            Truth::Pending if !slurm.down && job.reason.is_none() => Some(job.starts_at),
            Truth::Running => Some(job.ends_at),
            _ => None,
        });
        events.min()
    }

    /// Jobs start, and end at their limits.
    pub(super) fn jobs_move(&mut self) {
        let (at, mut started) = (now(), Vec::new());
        {
            let mut slurm = self.slurm.state();
            for index in 0..slurm.jobs.len() {
                let job = &slurm.jobs[index];
                if job.shard == "foreign" {
                    continue;
                }
                match job.truth {
                    Truth::Pending if !slurm.down && job.reason.is_none() && job.starts_at <= at => {
                        let ends = after(at, slurm.limit);
                        let job = &mut slurm.jobs[index];
                        (job.truth, job.started, job.ends_at) = (Truth::Running, Some(at), ends);
                        started.push(index);
                    }
                    Truth::Running if job.ends_at <= at => slurm.end(index, "TIMEOUT", (0, 15), 2),
                    _ => {}
                }
            }
        }
        for index in started {
            let id = self.job_id(index);
            self.note(format!("job {id} starts"));
            if let Some(agent) = Agent::start(self, index) {
                self.agents.push(agent);
            }
        }
        self.bury();
    }

    pub(super) fn job_id(&self, index: usize) -> String {
        self.slurm.state().jobs[index].id.clone()
    }

    /// Agents end with their job, but for those that are cut off from it.
    fn bury(&mut self) {
        let slurm = self.slurm.state();
        self.agents.retain(|agent| {
            let job = &slurm.jobs[agent.job];
            agent.step != Step::Gone && (agent.zombie || (job.truth == Truth::Running && job.restarts == agent.restarts))
        });
    }

    pub(super) async fn agent_acts(&mut self, index: usize) {
        let mut agent = self.agents.swap_remove(index);
        let before = (agent.step, agent.epoch);
        agent.act(self).await;
        if before != (agent.step, agent.epoch) {
            let id = self.job_id(agent.job);
            self.note(format!("agent of job {id}: {:?}, epoch {}", agent.step, agent.epoch));
        }
        self.agents.push(agent);
        self.bury();
    }
}

pub(super) async fn open(dir: &Path, metrics: &Metrics) -> Store {
    Store::open(&Store::sqlite_url(dir), metrics.db_commit_seconds.clone()).await.expect("the database")
}
