//! Which jobs of a listing are an attempt's. Identity is the name, unique per attempt, among our account's jobs (the scheduler lists
//! no others), and with it id and submit time: Slurm reuses ids when it has lost its last seconds.

use std::collections::HashMap;

use em_slurm::{JobState, JobView};

use crate::mutants::{Mutant, made};
use crate::store::attempts::{Attempt, JobOutcome, SlurmJob};

/// Jobs by name: with thousands of attempts nobody walks the listing for each.
#[derive(Debug, Default)]
pub(super) struct Listing<'a>(HashMap<&'a str, Vec<&'a JobView>>);

/// The job that counts for an attempt, and the live ones beside it that must go.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Mine<'a> {
    pub(super) kept: Option<&'a JobView>,
    pub(super) surplus: Vec<&'a JobView>,
}

impl<'a> Listing<'a> {
    pub(super) fn of(jobs: &'a [JobView]) -> Self {
        let mut by_name: HashMap<&str, Vec<&JobView>> = HashMap::with_capacity(jobs.len());
        for job in jobs {
            by_name.entry(job.name.as_str()).or_default().push(job);
        }
        Self(by_name)
    }

    /// Of several jobs: the one that holds the claim, whatever its id; if none does, one that runs, for it is about to claim; else
    /// the lowest id that is alive.
    pub(super) fn mine(&self, attempt: &Attempt) -> Mine<'a> {
        let mut named: Vec<&JobView> = self.0.get(attempt.job_name.as_str()).into_iter().flatten().copied().collect();
        named.retain(|job| !job.refused_at_submission());
        named.retain(|job| attempt.job().is_none_or(|known| !id_was_reused(known, job)));
        named.sort_by_key(|job| (job.id.parse::<u64>().unwrap_or(u64::MAX), job.id.clone()));
        let alive = |job: &&&JobView| !job.state.ended();
        let runs = |job: &&&JobView| job.state == JobState::Running;
        let first_alive = || named.iter().find(runs).or_else(|| named.iter().find(alive));
        let kept = match (&attempt.claim, attempt.job()) {
            (Some(_), _) if made(Mutant::LowestIdThoughAnotherClaimed) => named.iter().find(alive).or_else(|| named.first()),
            (Some(claim), _) => named.iter().find(|job| job.id == claim.job_id),
            (None, Some(known)) => first_alive().or_else(|| named.iter().find(|job| job.id == known.id)).or_else(|| named.first()),
            (None, None) => first_alive().or_else(|| named.first()),
        }
        .copied();
        let surplus = named.iter().filter(alive).filter(|job| kept.is_none_or(|kept| kept.id != job.id)).copied().collect();
        Mine { kept, surplus }
    }
}

/// Whether this is another job than the known one, under the same id: submitted at another time, and not because Slurm requeued it
/// (which sets the submit time anew and counts a restart).
fn id_was_reused(known: &SlurmJob, job: &JobView) -> bool {
    let (Some(then), Some(now)) = (known.submitted_at, job.submitted_at) else { return false };
    let restarted = job.restart_count.is_none_or(|restarts| restarts > known.restarts.unwrap_or(0));
    known.id == job.id && then.as_second() != now.as_second() && !restarted
}

/// Slurm's words about a job, merged into what was known: a later listing may know less (accounting has no cluster).
pub(super) fn seen(known: Option<&SlurmJob>, job: &JobView) -> SlurmJob {
    let same = known.filter(|known| known.id == job.id);
    SlurmJob {
        id: job.id.clone(),
        cluster: same.and_then(|known| known.cluster.clone()),
        state: Some(job.raw_state.clone()),
        reason: job.reason.clone(),
        node: job.nodes.clone().or_else(|| same.and_then(|known| known.node.clone())),
        restarts: job.restart_count.or_else(|| same.and_then(|known| known.restarts)),
        submitted_at: job.submitted_at.or_else(|| same.and_then(|known| known.submitted_at)),
        started_at: job.started_at.or_else(|| same.and_then(|known| known.started_at)),
        expected_start: job.expected_start,
        // Of a job that is over this is its end; what is asked later is when it would have had to end.
        ends_at: if job.state.ended() { same.and_then(|known| known.ends_at) } else { job.ends_at },
    }
}

/// How a job that is over ended. `None`: it is not over, or the word is unknown to us, which waits.
pub(super) fn outcome(job: &JobView) -> Option<JobOutcome> {
    Some(match job.state {
        JobState::Completed => JobOutcome::Completed,
        JobState::Failed => JobOutcome::Failed,
        JobState::OutOfMemory => JobOutcome::OutOfMemory,
        JobState::Timeout | JobState::Deadline => JobOutcome::TimeLimit,
        JobState::Preempted => JobOutcome::Preempted,
        JobState::NodeFail | JobState::BootFail => JobOutcome::NodeFailed,
        JobState::Cancelled => JobOutcome::Cancelled,
        JobState::Revoked => JobOutcome::Vanished,
        JobState::Unknown(_) if made(Mutant::UnknownWordIsAnEnd) => JobOutcome::Failed,
        _ => return None,
    })
}

/// As a shell would say it.
pub(super) fn exit_code(job: &JobView) -> Option<i32> {
    job.exit.map(|exit| if exit.signal == 0 { exit.code } else { 128 + exit.signal })
}
