//! Does one action and records it. A failure leaves the row as it was: the next look decides again.

use em_api::status::EventType;
use em_slurm::CancelError;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::attempt::WHO;
use super::pace::Pace;
use super::world::{Action, View, World};
use super::{Reconciler, spool, submit};
use crate::clock;
use crate::store::attempts::{AttemptState, JobOutcome};
use crate::store::events::NewEvent;
use crate::store::{self};

/// What became of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    Done,
    /// Somebody changed the row since it was read: look again at once.
    Stale,
    /// Look again when the next poll is due.
    Failed,
}

/// All actions of a look: submissions last and a few at a time, the others in their order. Stops early when asked to.
pub(super) async fn apply_all(
    reconciler: &Reconciler,
    pace: &mut Pace,
    world: &World,
    actions: &[Action],
    stop: &CancellationToken,
) -> Vec<Applied> {
    let mut applied = Vec::new();
    let mut jobs = Vec::new();
    for action in actions {
        if stop.is_cancelled() {
            return applied;
        }
        match action {
            Action::Submit { uid, attempt, .. } => {
                jobs.extend(view(world, *uid).and_then(|view| Some((view, submit::find(view, *attempt)?))));
            }
            other => {
                let result = one(reconciler, pace, world, other).await;
                applied.push(judged(reconciler, result, || format!("{other:?}")));
            }
        }
    }
    for result in submit::submit_all(reconciler, pace, jobs, stop).await {
        applied.push(judged(reconciler, result.map(|()| Applied::Done), || "a submission".to_owned()));
    }
    applied
}

fn judged(reconciler: &Reconciler, result: store::Result<Applied>, what: impl Fn() -> String) -> Applied {
    match result {
        Ok(applied) => applied,
        Err(store::Error::Stale(_) | store::Error::NotFound(_)) => Applied::Stale,
        Err(error) => {
            reconciler.metrics.reconcile_errors.inc();
            tracing::error!(error = &error as &dyn std::error::Error, "an action of the reconciler failed: {}", what());
            Applied::Failed
        }
    }
}

async fn one(reconciler: &Reconciler, pace: &mut Pace, world: &World, action: &Action) -> store::Result<Applied> {
    let store = &reconciler.store;
    match action {
        Action::CreateAttempt { uid, shard, number, not_before } => {
            store.create_attempt(*uid, *shard, *number, *not_before).await?;
        }
        // `apply_all` gathers them.
        Action::Submit { .. } => return Ok(Applied::Stale),
        Action::Move { attempt, revision, state, event, adopted } => {
            store.save_attempt(*attempt, *revision, state, event.as_ref()).await?;
            if *adopted {
                info!(attempt.id = %attempt, "adopted a job by its name");
                reconciler.metrics.adopted.inc();
            }
        }
        Action::CancelJob { uid, attempt, revision, job_id, state, event } => {
            pace.hot(clock::instant());
            if !cancel(reconciler, job_id).await {
                return Ok(Applied::Failed);
            }
            store.save_attempt(*attempt, *revision, state, event.as_ref()).await?;
            info!(experiment.uid = %uid, attempt.id = %attempt, job.id = job_id, "cancelled job {job_id}");
        }
        Action::CancelDuplicate { uid, attempt, revision, job_id, barred } => {
            if !barred {
                store.refuse_job(*attempt, *revision, job_id).await?;
                let message = format!("cancelling job {job_id}: a second job of one attempt");
                let event = NewEvent { kind: EventType::Warning, who: WHO.to_owned(), reason: "DuplicateCancelled", message };
                store.add_event(*uid, &event).await?;
                reconciler.metrics.duplicate_suppressed.inc();
            }
            pace.hot(clock::instant());
            if !cancel(reconciler, job_id).await {
                return Ok(Applied::Failed);
            }
        }
        Action::CancelStray { job_id, name } => {
            // An experiment that could not be read still owns its job.
            if store.owns_job(name).await? {
                return Ok(Applied::Failed);
            }
            if !cancel(reconciler, job_id).await {
                return Ok(Applied::Failed);
            }
            pace.hot(clock::instant());
            warn!(job.id = job_id, job.name = name, "cancelled job {job_id}, which no open attempt owns");
        }
        Action::ReadSpool { uid, attempt, revision, state } => {
            let Some(view) = view(world, *uid) else { return Ok(Applied::Stale) };
            let stored = &view.open.stored;
            let dir = reconciler.jobs.attempt_dir(&stored.name, stored.uid, *attempt);
            let imported = spool::import(store, *attempt, dir.clone()).await?;
            let event = collected(imported, state, dir).await;
            store.save_attempt(*attempt, *revision, state, event.as_ref()).await?;
        }
        Action::Show { uid, revision, standing, events } => {
            store.save_standing(*uid, *revision, standing, events).await?;
            info!(experiment.uid = %uid, phase = standing.phase.as_str(), "{}", standing.message.as_deref().unwrap_or_default());
        }
        Action::Remove { uid, revision } => {
            let Some(view) = view(world, *uid) else { return Ok(Applied::Stale) };
            let dir = reconciler.jobs.experiment_dir(&view.open.stored.name, *uid);
            store.remove_experiment(*uid, *revision).await?;
            let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(dir)).await;
            if let Ok(Err(error)) = removed
                && error.kind() != std::io::ErrorKind::NotFound
            {
                warn!(experiment.uid = %uid, %error, "the job directories of a deleted experiment stay");
            }
        }
    }
    Ok(Applied::Done)
}

fn view(world: &World, uid: em_api::ExperimentUid) -> Option<&View> {
    world.experiments.iter().find(|view| view.open.stored.uid == uid)
}

/// Whether nothing more is to be done about it now.
async fn cancel(reconciler: &Reconciler, job_id: &str) -> bool {
    match reconciler.slurm.cancel(job_id).await {
        Ok(()) => true,
        Err(error @ CancelError::Denied { .. }) => {
            warn!(job.id = job_id, "{error}");
            true
        }
        Err(error) => {
            warn!(job.id = job_id, error = &error as &dyn std::error::Error, "scancel failed; it is tried again");
            false
        }
    }
}

async fn collected(imported: spool::Imported, state: &AttemptState, dir: std::path::PathBuf) -> Option<NewEvent> {
    let AttemptState::Submitted(submitted) = state else { return None };
    let outcome = submitted.over.as_ref().map(|over| over.outcome);
    if matches!(outcome, Some(JobOutcome::Failed | JobOutcome::OutOfMemory))
        && let Some(tail) = spool::stderr_tail(dir, submitted.job.id.clone()).await
    {
        let message = format!("the end of the standard error of job {}:\n{tail}", submitted.job.id);
        return Some(NewEvent { kind: EventType::Warning, who: WHO.to_owned(), reason: "JobOutput", message });
    }
    if imported == spool::Imported::default() {
        return None;
    }
    let unreadable =
        if imported.unreadable > 0 { format!(", {} files were unreadable", imported.unreadable) } else { String::new() };
    let message = format!("took in {} measurements from the job directory{unreadable}", imported.measurements);
    Some(NewEvent::normal(WHO, "SpoolRead", message))
}
