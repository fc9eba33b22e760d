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
mod cluster;
mod conditions;
mod ends;
mod listing;
mod observe;
mod pace;
mod plan;
mod shard;
mod slurm;
mod spool;
mod standing;
mod submit;
#[cfg(test)]
mod tests;
pub mod world;

use std::sync::Arc;
use std::time::{Duration, Instant};

use em_slurm::Scheduler;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::hints::Hints;
use crate::job::JobSettings;
use crate::metrics::Metrics;
use crate::store::{Store, now};
use apply::Applied;
pub use cluster::keep as keep_cluster;
use pace::Pace;
pub use plan::plan;
use world::{Action, Knobs, World};

pub struct Reconciler {
    store: Store,
    slurm: slurm::Slurm,
    jobs: JobSettings,
    knobs: Knobs,
    timing: Timing,
    metrics: Metrics,
    hints: Hints,
    census: census::Census,
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
    /// First pause when Slurm takes no more jobs of this account; doubles up to two minutes.
    pub limit_pause: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_secs(15),
            fast_poll_interval: Duration::from_secs(3),
            reads_per_minute: 20,
            submit_per_second: 2.0,
            submit_burst: 20.0,
            limit_pause: Duration::from_secs(15),
        }
    }
}

/// Between two looks, whatever wakes us.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
/// After a look that failed as a whole (the database, say).
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
        let slurm = slurm::Slurm::new(scheduler, metrics.clone());
        let (hints, census) = (Hints::default(), census::Census::default());
        Self { store, slurm, jobs, knobs, timing, metrics, hints, census }
    }

    #[must_use]
    pub fn with_hints(self, hints: Hints) -> Self {
        Self { hints, ..self }
    }

    /// Runs until `stop`. The action at hand is finished; jobs stay.
    pub async fn run(self, stop: CancellationToken) {
        let mut pace = Pace::new(self.timing);
        pace.hot(Instant::now());
        let mut rounds = 0;
        while !stop.is_cancelled() {
            let wait = match self.look(&mut pace, &stop).await {
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
                () = self.hints.given() => pace.hint(Instant::now()),
                () = self.store.woken() => {
                    // Records, claims and farewells wake us: what they announce shows in Slurm soon.
                    tokio::time::sleep(SHORTEST_PAUSE).await;
                }
            }
        }
        info!("the reconciler has stopped; jobs go on");
    }

    async fn look(&self, pace: &mut Pace, stop: &CancellationToken) -> Look {
        let timer = self.metrics.reconcile_seconds.start_timer();
        let world = match observe::observe(self, pace).await {
            Ok(world) => world,
            Err(error) => {
                self.metrics.reconcile_errors.inc();
                error!(error = &error as &dyn std::error::Error, "the reconciler cannot read the database");
                return Look::Wait(PAUSE_AFTER_ERROR);
            }
        };
        let decisions = plan(&world);
        self.count(&world, &decisions.actions).await;
        let (mut again, mut failed) = (false, false);
        for applied in apply::apply_all(self, pace, &world, &decisions.actions, stop).await {
            match applied {
                Applied::Done | Applied::Stale => again = true,
                Applied::Failed => failed = true,
            }
        }
        timer.observe_duration();
        if again && !failed {
            return Look::Again;
        }
        if failed {
            return Look::Wait(PAUSE_AFTER_ERROR);
        }
        let clock = Instant::now();
        let listing =
            pace.listing_due(clock, world.experiments.is_empty(), observe::lookup_pending(&world)).saturating_duration_since(clock);
        let due = decisions.look_again_at.map_or(listing, |at| {
            let wait = Duration::try_from(at.duration_since(now())).unwrap_or_default();
            listing.min(wait)
        });
        let submission = decisions.held_back.then(|| pace.submission_due(clock).saturating_duration_since(clock));
        Look::Wait(submission.map_or(due, |submission| due.min(submission)))
    }

    async fn count(&self, world: &World, actions: &[Action]) {
        if world.slurm.jobs.is_some() {
            let orphans = actions.iter().filter(|action| matches!(action, Action::CancelStray { .. })).count();
            self.metrics.orphans.set(i64::try_from(orphans).unwrap_or(i64::MAX));
        }
        if let Err(error) = self.census.take(&self.store, world, &self.metrics).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "experiments could not be counted");
        }
    }
}

enum Look {
    /// Something changed: the next decisions follow from it.
    Again,
    Wait(Duration),
}
