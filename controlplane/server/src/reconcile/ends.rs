//! Why an attempt ended and what follows: the table of DESIGN section 4.

use em_api::status::EventType;
use em_slurm::ExitStatus;
use jiff::SignedDuration;

use super::attempt::WHO;
use super::shard;
use super::world::{View, after};
use crate::admit::expand::Shard;
use crate::mutants::{Mutant, made};
use crate::store::attempts::{Attempt, CancelWhy, End, EndKind, JobOutcome, Over, SlurmJob, Submitted};
use crate::store::events::NewEvent;

/// A job that dies within this many seconds of its limit died of it: TERM comes up to 150 s early.
const NEAR_LIMIT_S: f64 = 180.0;

pub(super) fn judge(view: &View, shard: &Shard, attempt: &Attempt, submitted: &Submitted, over: &Over) -> End {
    let unfinished = shard::unfinished(view, shard);
    let end = |kind, reason: &str, message: String| End { kind, reason: reason.to_owned(), message };
    let job = &submitted.job.id;
    if unfinished.is_empty() {
        return end(EndKind::Completed, "Completed", format!("job {job} finished all its blocks"));
    }
    let progress = shard::last_words(view, attempt) > 0;
    let left = format!("{} of {} blocks are unfinished", unfinished.len(), shard.blocks.len());
    match submitted.cancel.as_ref().map(|cancel| (cancel.why, &cancel.message)) {
        Some((CancelWhy::NeverStarts, message)) => return end(EndKind::Closed, "NeverStarts", message.clone()),
        Some((CancelWhy::Desired, _)) => return end(EndKind::Cancelled, "Cancelled", format!("job {job} was cancelled")),
        None if view.unwanted() => return end(EndKind::Cancelled, "Cancelled", format!("job {job} was stopped")),
        None => {}
    }
    if shard::only_failed_trials_left(view, shard) {
        return end(EndKind::Retry, "TrialsFailed", format!("trials failed in job {job}; retryTrials is set"));
    }
    let how = over.exit_code.map_or_else(|| "its exit code is unknown".to_owned(), |code| status(code).in_words());
    let again = if made(Mutant::ContinuationIsARetry) { EndKind::Retry } else { EndKind::Continuation };
    match over.outcome {
        JobOutcome::Completed | JobOutcome::TimeLimit => time_is_over(job, progress, &left),
        JobOutcome::Failed if near_limit(view, &submitted.job, over) => time_is_over(job, progress, &left),
        JobOutcome::Failed => end(EndKind::Retry, "JobFailed", format!("job {job} failed: {how}; {left}")),
        JobOutcome::OutOfMemory => {
            end(EndKind::Retry, "OutOfMemory", format!("job {job} ran out of memory (spec.slurm.memory); {left}"))
        }
        JobOutcome::Preempted => end(again, "Preempted", format!("job {job} was preempted; {left}")),
        JobOutcome::NodeFailed => end(again, "NodeFailed", format!("the node of job {job} failed; {left}")),
        JobOutcome::Vanished => end(EndKind::Continuation, "JobVanished", format!("Slurm no longer knows job {job}; {left}")),
        // An admin or the owner by hand: submitting again would work against them.
        JobOutcome::Cancelled => end(EndKind::Closed, "JobCancelled", format!("job {job} was cancelled outside of em; {left}")),
    }
}

/// From a shell's way of saying it (`listing::exit_code`).
fn status(code: i32) -> ExitStatus {
    if code > 128 { ExitStatus { code: 0, signal: code - 128 } } else { ExitStatus { code, signal: 0 } }
}

fn time_is_over(job: &str, progress: bool, left: &str) -> End {
    if progress {
        let message = format!("job {job} ran out of time; {left}");
        return End { kind: EndKind::Continuation, reason: "TimeLimit".to_owned(), message };
    }
    let message = format!("job {job} ended without finishing a single trial; raise spec.slurm.time or shorten spec.load.duration");
    End { kind: EndKind::Closed, reason: "TimeLimitWithoutProgress".to_owned(), message }
}

fn near_limit(view: &View, job: &SlurmJob, over: &Over) -> bool {
    let asked = SignedDuration::from_mins(view.open.stored.spec.slurm.time.minutes.into());
    // A job that was never seen running has shown no limit: then it is what was asked for.
    let limit = job.ends_at.or_else(|| Some(after(job.started_at?, asked)));
    limit.is_some_and(|limit| limit.duration_since(over.at).as_secs_f64() < NEAR_LIMIT_S)
}

pub(super) fn event(attempt: &Attempt, job: &SlurmJob, end: &End) -> NewEvent {
    let kind = match end.kind {
        EndKind::Completed | EndKind::Cancelled | EndKind::Continuation => EventType::Normal,
        EndKind::Retry | EndKind::Closed => EventType::Warning,
    };
    let reason = match end.kind {
        EndKind::Completed => "JobCompleted",
        EndKind::Cancelled => "JobStopped",
        EndKind::Continuation => "JobContinues",
        EndKind::Retry => "JobRetries",
        EndKind::Closed => "JobGivenUp",
    };
    let message = format!("attempt {} (job {}): {}: {}", attempt.number, job.id, end.reason, end.message);
    NewEvent { kind, who: WHO.to_owned(), reason, message }
}
