//! Does one action and records it. A failure leaves the row as it was: the next look decides again, after a rest that only this
//! experiment takes. A panic is such a failure.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use em_api::status::EventType;
use em_api::{AttemptId, ExperimentUid};
use em_slurm::CancelError;
use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::attempt::WHO;
use super::disk::{DiskError, Work, cure};
use super::trouble::Troubles;
use super::world::{Action, Step, View, World};
use super::{Memory, Reconciler, ended, spool, submit};
use crate::clock;
use crate::store::attempts::{AttemptState, JobOutcome};
use crate::store::events::NewEvent;
use crate::store::experiments::Stored;
use crate::store::{self};
use crate::supervise::panic_text;

/// What became of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    Done,
    /// Somebody changed the row since it was read: look again at once.
    Stale,
    /// It failed; its experiment rests.
    Rests,
    /// The database cannot work now: nothing else will either.
    NoDatabase,
}

/// Why an action failed.
#[derive(Debug)]
pub(super) enum Failure {
    Store(store::Error),
    /// With the cure.
    Disk(String, &'static str),
    /// Slurm's words.
    Slurm(String),
    Panicked(String),
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl Failure {
    pub(super) fn disk(error: &DiskError, path: &Path) -> Self {
        let reason = match error {
            DiskError::Late(_) | DiskError::Suspect => "JobDirectorySilent",
            DiskError::Panicked(_) | DiskError::Io(_) => "JobDirectoryFailed",
        };
        Self::Disk(cure(error, path), reason)
    }
}

/// More than all deadlines inside an action together: Slurm's, the disk's, and those of many statements.
const DEADLINE: Duration = Duration::from_secs(300);

/// A panic becomes a failure, and so does a database that never answers.
pub(super) async fn contained<T>(act: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match tokio::time::timeout(DEADLINE, AssertUnwindSafe(act).catch_unwind()).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => Err(Failure::Panicked(panic_text(panic.as_ref()))),
        Err(_) => Err(Failure::Store(store::Error::Late)),
    }
}

/// All actions of a look: submissions last and a few at a time, the others in their order. Stops early when asked to, or when
/// the database cannot work.
pub(super) async fn apply_all(
    reconciler: &Reconciler,
    memory: &mut Memory,
    world: &World,
    actions: &[Action],
    stop: &CancellationToken,
) -> Vec<Applied> {
    let mut applied = Vec::new();
    let mut jobs = Vec::new();
    for action in actions {
        if stop.is_cancelled() || applied.contains(&Applied::NoDatabase) {
            return applied;
        }
        match action {
            Action::Submit { uid, attempt, .. } => {
                jobs.extend(view(world, *uid).and_then(|view| Some((view, submit::find(view, *attempt)?))));
            }
            other => {
                let result = contained(one(reconciler, memory, world, other)).await;
                applied.push(judged(reconciler, memory, owner(world, other).zip(Step::of(other)), result));
            }
        }
    }
    for (uid, result) in submit::submit_all(reconciler, &mut memory.pace, jobs, stop).await {
        applied.push(judged(reconciler, memory, view(world, uid).zip(Some(Step::Submit)), result));
    }
    applied
}

/// Remembers how a step of an experiment went.
pub(super) fn judged(
    reconciler: &Reconciler,
    memory: &mut Memory,
    of: Option<(&View, Step)>,
    result: Result<(), Failure>,
) -> Applied {
    let failure = match result {
        Ok(()) => {
            if let Some((view, step)) = of {
                memory.troubles.succeeded(view.open.stored.uid, step);
            }
            return Applied::Done;
        }
        Err(Failure::Store(store::Error::Stale(_) | store::Error::NotFound(_))) => return Applied::Stale,
        Err(failure) => failure,
    };
    if let Failure::Store(error) = &failure
        && let Some(why) = error.unavailable()
    {
        reconciler.database_fails(memory, why, error);
        return Applied::NoDatabase;
    }
    match of {
        Some((view, step)) => failed(reconciler, &mut memory.troubles, &view.open.stored, step, failure),
        // Of no experiment: the next listing decides again.
        None => warn!(?failure, "a job that nobody owns could not be cancelled"),
    }
    Applied::Rests
}

/// The experiment rests in this step.
pub(super) fn failed(reconciler: &Reconciler, troubles: &mut Troubles, stored: &Stored, step: Step, failure: Failure) {
    reconciler.metrics.reconcile_errors.inc();
    let (reason, message) = match failure {
        Failure::Store(error) => {
            error!(
                experiment.name = stored.name,
                error = &error as &dyn std::error::Error,
                "the database refused a change of experiment {}",
                stored.name
            );
            ("StoreFailed", "the database refused a change; the server's log says why. It is tried again by itself".to_owned())
        }
        Failure::Disk(message, reason) => (reason, message),
        Failure::Slurm(words) => ("CancelFailed", format!("{words}. It is tried again by itself")),
        Failure::Panicked(words) => {
            reconciler.metrics.reconcile_panics.inc();
            ("Panicked", panicked(&words))
        }
    };
    if troubles.failed(clock::instant(), stored, step, reason, message.clone()) {
        warn!(experiment.name = stored.name, experiment.uid = %stored.uid, reason, "experiment {} rests: {message}", stored.name);
    }
}

/// The condition's words about a panic.
pub(super) fn panicked(words: &str) -> String {
    format!(
        "the control plane failed inside itself at this experiment ({words}). Others go on; this one is tried again, at least once a \
         minute. That is a defect: please report it with the server's log"
    )
}

async fn one(reconciler: &Reconciler, memory: &mut Memory, world: &World, action: &Action) -> Result<(), Failure> {
    let (store, pace) = (&reconciler.store, &mut memory.pace);
    match action {
        Action::CreateAttempt { uid, shard, number, not_before } => {
            store.create_attempt(*uid, *shard, *number, *not_before).await?;
        }
        // `apply_all` gathers them.
        Action::Submit { .. } => {}
        Action::Move { attempt, revision, state, event, adopted } => {
            store.save_attempt(*attempt, *revision, state, event.as_ref()).await?;
            if *adopted {
                info!(attempt.id = %attempt, "adopted a job by its name");
                reconciler.metrics.adopted.inc();
            }
        }
        Action::CancelJob { uid, attempt, revision, job_id, state, event } => {
            pace.hot(clock::instant());
            cancel(reconciler, job_id).await?;
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
            cancel(reconciler, job_id).await?;
        }
        Action::CancelStray { job_id, name } => {
            // An experiment that could not be read still owns its job.
            if store.owns_job(name).await? {
                return Ok(());
            }
            cancel(reconciler, job_id).await?;
            pace.hot(clock::instant());
            warn!(job.id = job_id, job.name = name, "cancelled job {job_id}, which no open attempt owns");
        }
        Action::ReadSpool { uid, attempt, revision, state } => {
            let Some(view) = view(world, *uid) else { return Ok(()) };
            let event = collect(reconciler, view, *attempt, state).await?;
            store.save_attempt(*attempt, *revision, state, event.as_ref()).await?;
        }
        Action::Show { uid, revision, standing, events } => {
            let Some(view) = view(world, *uid) else { return Ok(()) };
            let notification = ended::notification(reconciler, &view.open.stored, standing).await?;
            store.save_end(*uid, *revision, standing, events, notification.as_ref()).await?;
            if let Some(notices) = reconciler.notices.as_ref().filter(|_| notification.is_some()) {
                notices.news.notify_one();
            }
            info!(experiment.uid = %uid, phase = standing.phase.as_str(), "{}", standing.message.as_deref().unwrap_or_default());
        }
        Action::Remove { uid, revision } => {
            store.remove_experiment(*uid, *revision).await?;
            reconciler.removed.notify_one();
        }
    }
    Ok(())
}

fn view(world: &World, uid: ExperimentUid) -> Option<&View> {
    world.experiments.iter().find(|view| view.open.stored.uid == uid)
}

/// Whose action it is.
fn owner<'a>(world: &'a World, action: &Action) -> Option<&'a View> {
    match action {
        Action::CreateAttempt { uid, .. }
        | Action::Submit { uid, .. }
        | Action::CancelJob { uid, .. }
        | Action::CancelDuplicate { uid, .. }
        | Action::ReadSpool { uid, .. }
        | Action::Show { uid, .. }
        | Action::Remove { uid, .. } => view(world, *uid),
        Action::Move { attempt, .. } => world.experiments.iter().find(|view| submit::find(view, *attempt).is_some()),
        Action::CancelStray { .. } => None,
    }
}

/// A refusal is an answer too: nothing more is to be done about the job now.
async fn cancel(reconciler: &Reconciler, job_id: &str) -> Result<(), Failure> {
    match reconciler.slurm.cancel(job_id).await {
        Ok(()) => Ok(()),
        Err(error @ CancelError::Denied { .. }) => {
            warn!(job.id = job_id, "{error}");
            Ok(())
        }
        Err(error) => {
            warn!(job.id = job_id, error = &error as &dyn std::error::Error, "scancel failed; it is tried again");
            Err(Failure::Slurm(error.to_string()))
        }
    }
}

/// Takes in the spool; what is told about it.
async fn collect(
    reconciler: &Reconciler,
    view: &View,
    attempt: AttemptId,
    state: &AttemptState,
) -> Result<Option<NewEvent>, Failure> {
    let stored = &view.open.stored;
    let dir = reconciler.jobs.attempt_dir(&stored.name, stored.uid, attempt);
    let disk = |error: DiskError| Failure::disk(&error, &dir);
    let place = dir.clone();
    let spool = reconciler.disk.run(stored.uid, Work::ReadSpool, &dir, move || spool::read(&place)).await.map_err(disk)?;
    let imported = spool::import(&reconciler.store, attempt, spool).await?;
    let AttemptState::Submitted(submitted) = state else { return Ok(None) };
    let outcome = submitted.over.as_ref().map(|over| over.outcome);
    if matches!(outcome, Some(JobOutcome::Failed | JobOutcome::OutOfMemory)) {
        let (place, job_id) = (dir.clone(), submitted.job.id.clone());
        let tail = move || spool::stderr_tail(&place, &job_id);
        let tail = reconciler.disk.run(stored.uid, Work::ReadOutput, &dir, tail).await.map_err(disk)?;
        if let Some(tail) = tail {
            let message = format!("the end of the standard error of job {}:\n{tail}", submitted.job.id);
            return Ok(Some(NewEvent { kind: EventType::Warning, who: WHO.to_owned(), reason: "JobOutput", message }));
        }
    }
    if imported == spool::Imported::default() {
        return Ok(None);
    }
    let unreadable =
        if imported.unreadable > 0 { format!(", {} files were unreadable", imported.unreadable) } else { String::new() };
    let message = format!("took in {} measurements from the job directory{unreadable}", imported.measurements);
    Ok(Some(NewEvent::normal(WHO, "SpoolRead", message)))
}
