//! The submission protocol of DESIGN section 7: intent → job directory → `sbatch` → record. A crash between any two steps leaves a
//! row that the next look understands.

use em_api::status::EventType;
use em_api::{AttemptId, Timestamp};
use em_slurm::{JobScript, SubmitError};
use jiff::SignedDuration;
use tracing::{info, warn};

use super::attempt::WHO;
use super::pace::Pace;
use super::world::{View, after};
use super::{Reconciler, shard};
use crate::job::{self, Assignment};
use crate::store::attempts::{Attempt, AttemptState, End, EndKind, SlurmJob, Submitted};
use crate::store::events::NewEvent;
use crate::store::{self, access, now};

/// Pause when Slurm takes no more jobs of this account for now.
const LIMIT_PAUSE: SignedDuration = SignedDuration::from_mins(2);

/// Submits an attempt's job and records what came of it.
pub(super) async fn submit(reconciler: &Reconciler, pace: &mut Pace, view: &View, attempt: &Attempt) -> store::Result<()> {
    let token = access::new_secret("ema");
    reconciler.store.begin_submitting(attempt.id, attempt.revision, &access::hash(&token), now()).await?;
    let revision = attempt.revision + 1;
    let (state, event) = match write_job_dir(reconciler, view, attempt, token).await {
        Err(error) => {
            warn!(attempt.id = %attempt.id, %error, "the job directory could not be written");
            let message = format!("the job directory could not be written: {error}. Check the space and rights of --job-dir");
            (intended_again(reconciler), Some(warning("JobDirectoryFailed", message)))
        }
        Ok(script) => call(reconciler, pace, attempt, &script).await,
    };
    match reconciler.store.save_attempt(attempt.id, revision, &state, event.as_ref()).await {
        // The job started and claimed before sbatch's answer was recorded: the claim has stored its id.
        Err(store::Error::Stale(_)) => Ok(()),
        other => other,
    }
}

/// The state after `sbatch`.
async fn call(reconciler: &Reconciler, pace: &mut Pace, attempt: &Attempt, script: &JobScript) -> (AttemptState, Option<NewEvent>) {
    match reconciler.slurm.submit(script).await {
        Ok(submitted) => {
            info!(attempt.id = %attempt.id, job.id = submitted.id, "submitted job {}", submitted.id);
            pace.unreachable = None;
            let event = NewEvent::normal(WHO, "JobSubmitted", format!("job {} for attempt {}", submitted.id, attempt.number));
            (in_slurm(submitted.id, submitted.cluster, now()), Some(event))
        }
        Err(SubmitError::Limited { stderr }) => {
            let message = format!("the limit of submitted jobs is reached; trying again every two minutes: {}", stderr.trim());
            let first = attempt.revision == 0;
            let again = AttemptState::Intended { not_before: after(now(), LIMIT_PAUSE) };
            (again, first.then(|| warning("SubmitLimit", message)))
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

fn in_slurm(id: String, cluster: Option<String>, at: Timestamp) -> AttemptState {
    let job = SlurmJob { id, cluster, state: Some("PENDING".to_owned()), submitted_at: Some(at), ..SlurmJob::default() };
    AttemptState::Submitted(Submitted { job, missing_since: None, cancel: None, over: None })
}

fn warning(reason: &'static str, message: String) -> NewEvent {
    NewEvent { kind: EventType::Warning, who: WHO.to_owned(), reason, message }
}

async fn write_job_dir(reconciler: &Reconciler, view: &View, attempt: &Attempt, token: String) -> std::io::Result<JobScript> {
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
    let script = job::script(&reconciler.jobs, (&stored.name, stored.uid), &stored.spec, ids, &attempt.job_name);
    let (dir, files) = (script.job_dir.clone(), job::Files { plan, token, script: script.render() });
    tokio::task::spawn_blocking(move || job::write(&dir, &files)).await.map_err(std::io::Error::other)??;
    Ok(script)
}

/// Used by callers that hold only the id.
pub(super) fn find(view: &View, attempt: AttemptId) -> Option<&Attempt> {
    view.open.attempts.iter().find(|one| one.id == attempt)
}
