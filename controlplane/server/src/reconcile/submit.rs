//! The submission protocol of DESIGN section 7: intent → job directory → `sbatch` → record. A crash between any two steps leaves a
//! row that the next look understands.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use em_api::status::EventType;
use em_api::{AttemptId, ExperimentUid};
use em_slurm::{JobScript, SubmitError, Submitted};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::apply::{Failure, contained};
use super::attempt::WHO;
use super::disk::{DiskError, Work};
use super::pace::Pace;
use super::shard::Place;
use super::world::{View, after};
use super::{Reconciler, shard};
use crate::clock;
use crate::job::{self, Assignment};
use crate::store::attempts::{self, Attempt, AttemptState, End, EndKind, SlurmJob};
use crate::store::events::NewEvent;
use crate::store::{self, access, now};

/// Submits all of a look's jobs, a few at a time. What goes wrong for one goes wrong for the next: after the first failure no
/// further one is begun in this look, so that listings and cancellations get their turn; nor is one when `stop` is wanted.
pub(super) async fn submit_all(
    reconciler: &Reconciler,
    pace: &mut Pace,
    jobs: Vec<(&View, &Attempt)>,
    stop: &CancellationToken,
) -> Vec<(ExperimentUid, Result<(), Failure>)> {
    let pace = Mutex::new(pace);
    let trouble = AtomicBool::new(false);
    let mut submissions = Vec::with_capacity(jobs.len());
    for (view, attempt) in jobs {
        let submission = contained(submit(reconciler, &pace, &trouble, stop, view, attempt));
        submissions.push(submission.map(|result| (view.open.stored.uid, result)));
    }
    futures_util::stream::iter(submissions).buffer_unordered(reconciler.submit_at_once).collect().await
}

/// Submits an attempt's job and records what came of it.
async fn submit(
    reconciler: &Reconciler,
    pace: &Mutex<&mut Pace>,
    trouble: &AtomicBool,
    stop: &CancellationToken,
    view: &View,
    attempt: &Attempt,
) -> Result<(), Failure> {
    if trouble.load(Ordering::Relaxed) || stop.is_cancelled() {
        return Ok(());
    }
    held(pace).take_submission(clock::instant());
    let token = access::new_secret("ema");
    reconciler.store.begin_submitting(attempt.id, attempt.revision, &access::hash(&token), now()).await?;
    let revision = attempt.revision + 1;
    let script = match write_job_dir(reconciler, view, attempt, token).await {
        Ok(script) => script,
        Err((error, dir)) => {
            let failure = Failure::disk(&error, &dir);
            let Failure::Disk(message, reason) = &failure else { return Err(failure) };
            let event = warning(reason, format!("the job directory could not be written: {message}"));
            let again = AttemptState::Intended { not_before: now() };
            reconciler.store.save_attempt(attempt.id, revision, &again, Some(&event)).await?;
            return Err(failure);
        }
    };
    let answer = reconciler.slurm.submit(&script).await;
    trouble.fetch_or(answer.is_err(), Ordering::Relaxed);
    held(pace).hot(clock::instant());
    let (state, event) = after_sbatch(reconciler, &mut held(pace), attempt, answer);
    match reconciler.store.save_attempt(attempt.id, revision, &state, event.as_ref()).await {
        // The job started and claimed before sbatch's answer was recorded: the claim has stored its id.
        Err(store::Error::Stale(_)) => Ok(()),
        other => Ok(other?),
    }
}

fn held<'a, 'p>(pace: &'a Mutex<&'p mut Pace>) -> MutexGuard<'a, &'p mut Pace> {
    pace.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The state after `sbatch`.
fn after_sbatch(
    reconciler: &Reconciler,
    pace: &mut Pace,
    attempt: &Attempt,
    answer: Result<Submitted, SubmitError>,
) -> (AttemptState, Option<NewEvent>) {
    match answer {
        Ok(submitted) => {
            info!(attempt.id = %attempt.id, job.id = submitted.id, "submitted job {}", submitted.id);
            pace.submitted();
            let event = NewEvent::normal(WHO, "JobSubmitted", format!("job {} for attempt {}", submitted.id, attempt.number));
            (in_slurm(submitted.id, submitted.cluster), Some(event))
        }
        Err(SubmitError::Limited { stderr }) => {
            let words = stderr.trim().to_owned();
            let message = format!("Slurm takes no more jobs for now; it is tried again by itself: {words}");
            let news = pace.limited(clock::instant(), words);
            (AttemptState::Intended { not_before: now() }, news.then(|| warning("SubmitLimit", message)))
        }
        Err(SubmitError::Rejected { stderr }) => {
            let message = format!("sbatch refused the job: {}", stderr.trim());
            let end = End { kind: EndKind::Closed, reason: "Rejected".to_owned(), message: message.clone() };
            let ended = AttemptState::Ended { at: now(), end, job: None, over: None };
            (ended, Some(warning("JobRejected", message)))
        }
        Err(error @ (SubmitError::Unreachable { .. } | SubmitError::Spawn { .. })) => {
            let words = words(&error);
            warn!(attempt.id = %attempt.id, error = words, "sbatch reached no controller; it is tried again");
            let first = pace.unreachable.is_none();
            pace.unreachable = Some(words.clone());
            let event = first.then(|| warning("SchedulerUnreachable", words));
            (intended_again(reconciler), event)
        }
        Err(error @ SubmitError::Ambiguous { .. }) => {
            warn!(attempt.id = %attempt.id, error = error.to_string(), "the outcome of sbatch is looked up by the job's name");
            reconciler.metrics.submit_ambiguous.inc();
            if error.at_limit() {
                pace.limited(clock::instant(), error.to_string());
            }
            // The time to settle begins now: a controller that hung may only now take the job in.
            (
                AttemptState::Submitting { since: now() },
                Some(warning("SubmissionUnclear", format!("{error}; it is looked up by its name"))),
            )
        }
    }
}

fn words(error: &SubmitError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// After a submission that surely did nothing.
fn intended_again(reconciler: &Reconciler) -> AttemptState {
    AttemptState::Intended { not_before: after(now(), reconciler.knobs.backoff) }
}

/// The submit time is left to the listing: by it a job is known again, and our clock is not the controller's.
fn in_slurm(id: String, cluster: Option<String>) -> AttemptState {
    let job = SlurmJob { id, cluster, state: Some("PENDING".to_owned()), ..SlurmJob::default() };
    AttemptState::Submitted(attempts::Submitted { job, missing_since: None, cancel: None, over: None })
}

fn warning(reason: &'static str, message: String) -> NewEvent {
    NewEvent { kind: EventType::Warning, who: WHO.to_owned(), reason, message }
}

/// Errors: with the folder that could not be written.
async fn write_job_dir(
    reconciler: &Reconciler,
    view: &View,
    attempt: &Attempt,
    token: String,
) -> Result<JobScript, (DiskError, PathBuf)> {
    let stored = &view.open.stored;
    let unfinished = view
        .open
        .shards
        .iter()
        .find(|shard| shard.id == attempt.shard)
        .map(|shard| shard::unfinished(view, shard))
        .unwrap_or_default();
    let assignment = Assignment {
        experiment: &stored.name,
        uid: stored.uid,
        spec: &stored.spec,
        shard: attempt.shard,
        attempt: attempt.id,
        number: attempt.number,
        unfinished: &unfinished,
    };
    let plan = job::plan_text(&job::plan(&reconciler.jobs, &assignment));
    let ids = (attempt.shard, attempt.id);
    let place = shard::place(view);
    let node = if let Place::On(node) = &place { Some(node.as_str()) } else { None };
    let script = job::script(&reconciler.jobs, (&stored.name, stored.uid), &stored.spec, ids, &attempt.job_name, node);
    let (dir, files) = (script.job_dir.clone(), job::Files { plan, token, script: script.render() });
    let place = dir.clone();
    let written = reconciler.disk.run(stored.uid, Work::WriteJob, &dir, move || job::write(&place, &files)).await;
    match written.and_then(|written| Ok(written?)) {
        Ok(()) => Ok(script),
        Err(error) => Err((error, dir)),
    }
}

/// Used by callers that hold only the id.
pub(super) fn find(view: &View, attempt: AttemptId) -> Option<&Attempt> {
    view.open.attempts.iter().find(|one| one.id == attempt)
}
