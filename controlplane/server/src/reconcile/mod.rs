//! The operator: makes what runs on Slurm equal to what users want. Each wake-up does the same: `observe` everything,
//! [`plan()`] (pure), apply the actions one by one. A wake-up carries no news, so a lost one costs seconds.
//!
//! Guarantees: an intent is stored before its effect; every write compares the revision that it was decided from; absence from a
//! listing is never an end by itself; every outside call has a deadline. Assumes one reconciler per database (the lock of the
//! state directory).

mod apply;
mod attempt;
mod budget;
mod census;
mod cleanup;
mod cluster;
mod conditions;
mod disk;
mod ended;
mod ends;
mod limits;
mod listing;
mod observe;
mod pace;
mod plan;
mod shard;
#[cfg(test)]
mod simulation;
mod slurm;
mod spool;
mod standing;
mod submit;
#[cfg(test)]
mod tests;
mod trouble;
mod wall;
pub mod world;

use std::sync::Arc;
use std::time::{Duration, Instant};

use em_api::ExperimentUid;
use em_api::status::{ConditionStatus, ConditionType};
use em_slurm::Scheduler;
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::clock;
use crate::hints::Hints;
use crate::job::JobSettings;
use crate::metrics::Metrics;
use crate::store::{self, Store, Unavailable, now};
use apply::Applied;
pub use cleanup::PIN;
pub use cluster::keep as keep_cluster;
pub use limits::Limits;
use pace::Pace;
pub use plan::plan;
use trouble::Troubles;
use wall::Wall;
use world::{Action, Knobs, Step, View, World};

pub struct Reconciler {
    store: Store,
    slurm: slurm::Slurm,
    jobs: JobSettings,
    knobs: Knobs,
    metrics: Metrics,
    hints: Hints,
    census: census::Census,
    disk: disk::Disk,
    notices: Option<Notices>,
    /// An experiment was removed: its folder waits for clean-up.
    removed: Notify,
    submit_at_once: usize,
    cleanup_interval: Duration,
    memory: Mutex<Memory>,
}

/// Ends of experiments are put into the outbox.
#[derive(Clone, Debug)]
pub struct Notices {
    /// Address of the page, for links.
    pub base: String,
    /// Given when there is something in the outbox.
    pub news: Arc<Notify>,
}

/// What is remembered from look to look, also when the task that looks had to be started again. Nothing that must survive the
/// process.
struct Memory {
    pace: Pace,
    troubles: Troubles,
    wall: Wall,
    /// Looks one after another that the database made fail.
    without_database: u32,
}

/// How often Slurm is asked.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    pub poll_interval: Duration,
    /// For a minute after a submit, a cancel, a claim or a farewell.
    pub fast_poll_interval: Duration,
    /// In any 60 seconds, whatever the number of jobs.
    pub reads_per_minute: u32,
    /// Zero: no limit.
    pub submit_per_second: f64,
    pub submit_burst: f64,
    /// Submissions at work at the same time: on two cores more than eight do not make it faster.
    pub submit_at_once: usize,
    /// First pause when Slurm takes no more jobs of this account; doubles up to two minutes.
    pub limit_pause: Duration,
    /// Of a piece of work in a job directory.
    pub disk_deadline: Duration,
    /// Between two rounds of clean-up.
    pub cleanup_interval: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_secs(15),
            fast_poll_interval: Duration::from_secs(3),
            reads_per_minute: 20,
            submit_per_second: 2.0,
            submit_burst: 20.0,
            submit_at_once: 8,
            limit_pause: Duration::from_secs(15),
            disk_deadline: Duration::from_secs(10),
            cleanup_interval: Duration::from_secs(30),
        }
    }
}

/// Between two looks, whatever wakes us.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
/// After a look that changed something the next one rests as long as it took to look, up to this: with thousands of open experiments
/// the API must get its turn.
const LONGEST_REST: Duration = Duration::from_secs(1);
/// A look that took less is in nobody's way.
const LEAST_REST: Duration = Duration::from_millis(20);
/// After a look that failed as a whole; longer each time, up to eight times as long.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(2);
/// Looks one after another that each changed something; more means that two rules work against each other.
const MOST_ROUNDS: u32 = 50;

impl Reconciler {
    pub fn new(
        store: Store,
        scheduler: Arc<dyn Scheduler>,
        jobs: JobSettings,
        knobs: Knobs,
        timing: Timing,
        metrics: Metrics,
    ) -> Self {
        let memory = Memory {
            pace: Pace::new(timing),
            troubles: Troubles::default(),
            wall: Wall::new(knobs.awake_since),
            without_database: 0,
        };
        Self {
            store,
            slurm: slurm::Slurm::new(scheduler, metrics.clone()),
            jobs,
            knobs,
            disk: disk::Disk::new(timing.disk_deadline, metrics.clone()),
            metrics,
            hints: Hints::default(),
            census: census::Census::default(),
            notices: None,
            removed: Notify::new(),
            submit_at_once: timing.submit_at_once,
            cleanup_interval: timing.cleanup_interval,
            memory: Mutex::new(memory),
        }
    }

    #[must_use]
    pub fn with_hints(self, hints: Hints) -> Self {
        Self { hints, ..self }
    }

    #[must_use]
    pub fn with_notices(self, notices: Option<Notices>) -> Self {
        Self { notices, ..self }
    }

    /// Runs until `stop`. The action at hand is finished; jobs stay.
    pub async fn run(&self, stop: CancellationToken) {
        // Not poisoned by a panic of the run before.
        let memory = &mut *self.memory.lock().await;
        memory.pace.hot(clock::instant());
        let mut rounds = 0;
        while !stop.is_cancelled() {
            let wait = match self.look(memory, &stop).await {
                Look::Again if rounds < MOST_ROUNDS => {
                    rounds += 1;
                    continue;
                }
                Look::Again => {
                    error!("the reconciler does not come to rest; it pauses");
                    self.metrics.reconcile_errors.inc();
                    PAUSE_AFTER_ERROR
                }
                Look::Wait(wait) => wait,
            };
            rounds = 0;
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(wait.max(SHORTEST_PAUSE)) => {}
                () = self.hints.given() => memory.pace.hint(clock::instant()),
                () = self.store.woken() => {
                    // Records, claims and farewells wake us: what they announce shows in Slurm soon.
                    tokio::time::sleep(SHORTEST_PAUSE).await;
                }
            }
        }
        info!("the reconciler has stopped; jobs go on");
    }

    async fn look(&self, memory: &mut Memory, stop: &CancellationToken) -> Look {
        let (timer, begin) = (self.metrics.reconcile_seconds.start_timer(), Instant::now());
        let world = match observe::observe(self, memory).await {
            Ok(world) => world,
            Err(error) => {
                self.metrics.reconcile_errors.inc();
                match error.unavailable() {
                    Some(why) => self.database_fails(memory, why, &error),
                    None => error!(error = &error as &dyn std::error::Error, "the reconciler cannot read the database"),
                }
                return Look::Wait(pause_without(memory.without_database));
            }
        };
        let decisions = plan(&world);
        let rest = begin.elapsed().min(LONGEST_REST);
        self.remember(memory, &world, &decisions.panicked);
        self.count(&world, &decisions.actions).await;
        let applied = apply::apply_all(self, memory, &world, &decisions.actions, stop).await;
        timer.observe_duration();
        if applied.contains(&Applied::NoDatabase) {
            return Look::Wait(pause_without(memory.without_database));
        }
        if !applied.is_empty() {
            memory.without_database = 0;
        }
        if applied.iter().any(|one| matches!(one, Applied::Done | Applied::Stale)) || !decisions.panicked.is_empty() {
            if rest >= LEAST_REST {
                let _ = tokio::time::timeout(rest, stop.cancelled()).await;
            }
            return Look::Again;
        }
        // What has just begun to rest is told at once.
        if applied.contains(&Applied::Rests) {
            return Look::Wait(SHORTEST_PAUSE);
        }
        let (clock, pace) = (clock::instant(), &mut memory.pace);
        let listing =
            pace.listing_due(clock, world.experiments.is_empty(), observe::lookup_pending(&world)).saturating_duration_since(clock);
        let due = decisions.look_again_at.map_or(listing, |at| {
            let wait = Duration::try_from(at.duration_since(now())).unwrap_or_default();
            listing.min(wait)
        });
        let due = memory.troubles.next_due(clock).map_or(due, |at| due.min(at.saturating_duration_since(clock)));
        let submission = decisions.held_back.then(|| pace.submission_due(clock).saturating_duration_since(clock));
        Look::Wait(submission.map_or(due, |submission| due.min(submission)))
    }

    /// The database cannot work: told once, until it works again.
    fn database_fails(&self, memory: &mut Memory, why: Unavailable, error: &store::Error) {
        self.metrics.database_errors.with_label_values(&[why.as_str()]).inc();
        if memory.without_database == 0 {
            error!(error = error as &dyn std::error::Error, "the reconciler waits for the database: {}", why.cure());
        }
        memory.without_database = memory.without_database.saturating_add(1);
    }

    /// Keeps in mind about whom nothing could be decided.
    fn remember(&self, memory: &mut Memory, world: &World, panicked: &[(ExperimentUid, String)]) {
        for view in &world.experiments {
            let stored = &view.open.stored;
            match panicked.iter().find(|(uid, _)| *uid == stored.uid) {
                Some((_, words)) => {
                    let failure = apply::Failure::Panicked(words.clone());
                    apply::failed(self, &mut memory.troubles, stored, Step::Decide, failure);
                }
                None if view.rests(Step::Decide) => {}
                None => memory.troubles.succeeded(stored.uid, Step::Decide),
            }
        }
    }

    async fn count(&self, world: &World, actions: &[Action]) {
        if world.slurm.jobs.is_some() {
            let orphans = actions.iter().filter(|action| matches!(action, Action::CancelStray { .. })).count();
            self.metrics.orphans.set(i64::try_from(orphans).unwrap_or(i64::MAX));
        }
        let stalled = |view: &&View| {
            let conditions = &view.open.stored.conditions;
            conditions.iter().any(|one| one.kind == ConditionType::Stalled && one.status == ConditionStatus::True)
        };
        let stalled = world.experiments.iter().filter(stalled).count();
        self.metrics.stalled.set(i64::try_from(stalled).unwrap_or(i64::MAX));
        if let Err(error) = self.census.take(&self.store, world, &self.metrics).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "experiments could not be counted");
        }
    }
}

/// `failures`: looks one after another that the database made fail.
fn pause_without(failures: u32) -> Duration {
    PAUSE_AFTER_ERROR * 2_u32.pow(failures.saturating_sub(1).min(3))
}

enum Look {
    /// Something changed: the next decisions follow from it.
    Again,
    Wait(Duration),
}
