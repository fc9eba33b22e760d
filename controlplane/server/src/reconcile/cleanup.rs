//! Clean-up in the background: takes away ended experiments after their `ttl`, their logs after `logsTtl`, and folders whose
//! experiment is gone. In small steps; what fails is tried again later. Pinned experiments are never touched.

use std::time::Duration;

use em_api::status::{Condition, ConditionStatus, ConditionType};
use em_api::{HumanDuration, Timestamp};
use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::Reconciler;
use super::apply::{Failure, contained};
use super::disk::{DiskError, Work};
use super::wall::Wall;
use super::world::after;
use crate::clock;
use crate::job::{self, RemoveError};
use crate::store::cleanup::Leftover;
use crate::store::events::NewEvent;
use crate::store::experiments::Stored;
use crate::store::{self, now};

pub(super) const WHO: &str = "cleanup";
/// Key of the label or annotation that, with the value `true`, keeps an experiment and its logs.
pub const PIN: &str = "em/pinned";
/// Of each kind, in one round.
const AT_ONCE: i64 = 20;
/// Between two steps: agents and users come first.
const BREATH: Duration = Duration::from_millis(20);
/// After the wall clock was set, nothing is taken away for so long: it may have been set wrongly.
const PAUSE_AFTER_JUMP: Duration = Duration::from_secs(3_600);
/// Before a folder or logs that could not be removed are tried again; folders longer each time, up to a day.
const TRY_AGAIN: SignedDuration = SignedDuration::from_mins(1);
const LONGEST: SignedDuration = SignedDuration::from_hours(24);

/// What is to be done about an ended experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Expire(HumanDuration),
    RemoveLogs,
    /// Nothing before then, or nothing at all.
    Later(Option<Timestamp>),
}

fn next(stored: &Stored, now: Timestamp) -> Next {
    let Some(finished_at) = stored.finished_at.filter(|_| stored.phase.ended() && stored.deleted_at.is_none()) else {
        return Next::Later(None);
    };
    if pinned(stored) {
        return Next::Later(None);
    }
    // What was measured long ago may have been imported just now.
    let from = finished_at.max(stored.created_at);
    let end = |lifetime: HumanDuration| after(from, SignedDuration::try_from(lifetime.0).unwrap_or(SignedDuration::MAX));
    let expires = stored.spec.ttl.map(|ttl| (ttl, end(ttl)));
    if let Some((ttl, at)) = expires
        && at <= now
    {
        return Next::Expire(ttl);
    }
    let logs_removed = stored.conditions.iter().any(|one| one.kind == ConditionType::LogsRemoved);
    let logs = (!logs_removed).then(|| end(stored.spec.logs_ttl));
    if logs.is_some_and(|at| at <= now) {
        return Next::RemoveLogs;
    }
    Next::Later(logs.into_iter().chain(expires.map(|(_, at)| at)).min())
}

fn pinned(stored: &Stored) -> bool {
    [&stored.labels, &stored.annotations].iter().any(|pairs| pairs.get(PIN).is_some_and(|value| value == "true"))
}

impl Reconciler {
    /// Runs until `stop`, with a round each interval and after each removal of an experiment.
    pub async fn clean(&self, stop: CancellationToken) {
        let (mut wall, mut rests_until) = (Wall::new(now()), None);
        let mut failing = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.removed.notified() => {}
                () = tokio::time::sleep(self.cleanup_interval) => {}
            }
            let clock = clock::instant();
            if let Some(jump) = wall.look(clock, now()) {
                warn!("the wall clock was set by {jump:#}; clean-up takes nothing away for an hour");
                rests_until = Some(clock + PAUSE_AFTER_JUMP);
            }
            let round = self.clean_round(rests_until.is_none_or(|until| until <= clock), &stop).await;
            if let Err(error) = &round
                && !failing
            {
                error!(error = error as &dyn std::error::Error, "clean-up cannot use the database; it goes on when it can");
            }
            failing = round.is_err();
        }
    }

    async fn clean_round(&self, expire: bool, stop: &CancellationToken) -> store::Result<()> {
        for leftover in self.store.leftovers(AT_ONCE).await? {
            if stop.is_cancelled() {
                return Ok(());
            }
            let removed = contained(async { self.remove_folder(&leftover).await }).await;
            self.cleaned("folder", &removed, &leftover.name);
        }
        if !expire {
            return Ok(());
        }
        for stored in self.store.cleanup_due(AT_ONCE).await? {
            if stop.is_cancelled() {
                return Ok(());
            }
            match next(&stored, now()) {
                Next::Later(at) => self.store.cleanup_later(&stored, at).await?,
                Next::Expire(ttl) => {
                    let done = contained(async { self.expire(&stored, ttl).await }).await;
                    self.cleaned("experiment", &done, &stored.name);
                }
                Next::RemoveLogs => {
                    let done = contained(async { self.remove_logs(&stored).await }).await;
                    self.cleaned("logs", &done, &stored.name);
                    if done.is_err() {
                        self.store.cleanup_later(&stored, Some(after(now(), TRY_AGAIN))).await?;
                    }
                }
            }
            tokio::time::sleep(BREATH).await;
        }
        Ok(())
    }

    fn cleaned(&self, what: &'static str, result: &Result<(), Failure>, of: &str) {
        let outcome = if result.is_ok() { "done" } else { "failed" };
        self.metrics.cleanup.with_label_values(&[what, outcome]).inc();
        match result {
            Ok(()) => info!(of, "clean-up removed {what} of {of}"),
            Err(Failure::Store(store::Error::Stale(_))) => {}
            Err(failure) => warn!(?failure, of, "clean-up could not remove {what} of {of}; it is tried again later"),
        }
    }

    async fn expire(&self, stored: &Stored, ttl: HumanDuration) -> Result<(), Failure> {
        let message = format!("its ttl of {ttl} after the end is over; it is removed ({PIN}=true would have kept it)");
        Ok(self.store.expire_experiment(stored, &NewEvent::normal(WHO, "Expired", message)).await?)
    }

    async fn remove_logs(&self, stored: &Stored) -> Result<(), Failure> {
        while self.store.remove_some_logs(stored.uid).await? {
            tokio::time::sleep(BREATH).await;
        }
        let folder = self.jobs.experiment_folder(&stored.name, stored.uid);
        self.remove_at(stored.uid, &folder).await?;
        let message = format!(
            "log lines and job directories were removed, {} after the end (logsTtl); results, measurements and the report stay",
            stored.spec.logs_ttl
        );
        let condition = Condition {
            kind: ConditionType::LogsRemoved,
            status: ConditionStatus::True,
            reason: "Expired".to_owned(),
            message: message.clone(),
            last_transition_time: now(),
        };
        let mut conditions = stored.conditions.clone();
        conditions.push(condition);
        Ok(self.store.logs_removed(stored, &conditions, &NewEvent::normal(WHO, "LogsRemoved", message)).await?)
    }

    async fn remove_folder(&self, leftover: &Leftover) -> Result<(), Failure> {
        let folder = self.jobs.experiment_folder(&leftover.name, leftover.uid);
        let removed = self.remove_at(leftover.uid, &folder).await;
        if removed.is_ok() {
            self.store.leftover_done(leftover.uid).await?;
        } else {
            let pause = TRY_AGAIN.saturating_mul(1_i32.checked_shl(leftover.tries.min(16)).unwrap_or(i32::MAX)).min(LONGEST);
            self.store.leftover_later(leftover.uid, after(now(), pause)).await?;
        }
        removed
    }

    /// What is in the place of a folder and is none stays, and is no failure.
    async fn remove_at(&self, uid: em_api::ExperimentUid, folder: &str) -> Result<(), Failure> {
        let (job_dir, name, path) = (self.jobs.job_dir.clone(), folder.to_owned(), self.jobs.job_dir.join(folder));
        match self.disk.run(uid, Work::RemoveFolder, &path, move || job::remove(&job_dir, &name)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error @ RemoveError::NotOurs(_))) => {
                warn!("{error}");
                Ok(())
            }
            Ok(Err(RemoveError::Io(error))) => Err(Failure::disk(&DiskError::Io(error), &path)),
            Err(error) => Err(Failure::disk(&error, &path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use em_api::status::Phase;

    use super::super::conditions;
    use super::super::tests::{at, stored};
    use super::*;

    fn ended(ttl: Option<u64>, logs_ttl: u64) -> Stored {
        let mut stored = Stored { phase: Phase::Succeeded, finished_at: Some(at(1_000)), ..stored() };
        stored.spec.ttl = ttl.map(HumanDuration::from_secs);
        stored.spec.logs_ttl = HumanDuration::from_secs(logs_ttl);
        stored
    }

    fn without_logs(mut stored: Stored) -> Stored {
        conditions::put(&mut stored.conditions, ConditionType::LogsRemoved, ConditionStatus::True, "Expired", String::new(), at(0));
        stored
    }

    #[test]
    fn logs_go_first_and_the_experiment_when_its_own_time_is_over() {
        let one = ended(Some(500), 100);
        assert_eq!(next(&one, at(1_099)), Next::Later(Some(at(1_100))));
        assert_eq!(next(&one, at(1_100)), Next::RemoveLogs);
        assert_eq!(next(&without_logs(one.clone()), at(1_100)), Next::Later(Some(at(1_500))));
        assert_eq!(next(&one, at(1_500)), Next::Expire(HumanDuration::from_secs(500)));
        assert_eq!(next(&without_logs(ended(None, 100)), at(9_000)), Next::Later(None), "results stay");
    }

    #[test]
    fn nothing_is_taken_from_one_that_runs_is_deleted_or_is_pinned() {
        let running = Stored { phase: Phase::Running, finished_at: None, ..ended(Some(1), 1) };
        let deleted = Stored { deleted_at: Some(at(1_001)), ..ended(Some(1), 1) };
        let mut by_label = ended(Some(1), 1);
        by_label.labels.insert(PIN.to_owned(), "true".to_owned());
        let mut by_annotation = ended(Some(1), 1);
        by_annotation.annotations.insert(PIN.to_owned(), "true".to_owned());
        for kept in [running, deleted, by_label.clone(), by_annotation] {
            assert_eq!(next(&kept, at(9_000)), Next::Later(None));
        }
        by_label.labels.insert(PIN.to_owned(), "false".to_owned());
        assert_eq!(next(&by_label, at(9_000)), Next::Expire(HumanDuration::from_secs(1)));
    }

    #[test]
    fn what_was_imported_counts_from_its_import() {
        let imported = Stored { created_at: at(5_000), ..ended(Some(500), 100) };
        assert_eq!(next(&imported, at(5_000)), Next::Later(Some(at(5_100))));
    }
}
