//! What a record means, in Slurm's words.

use jiff::Timestamp;

use super::machine::Machine;
use super::record::{By, End, Outcome, Record};
use crate::{ExitStatus, JobState, JobView, PendingReason, Witness};

const GOING_DOWN: &str = "the machine went down while the job ran";

/// `waits_for`: why a pending job waits.
pub(super) fn view(record: &Record, machine: &Machine, waits_for: Option<&str>) -> JobView {
    let (job, start, outcome) = (&record.job, record.start.as_ref(), record.outcome.as_ref());
    let state = match (outcome, start) {
        (Some(outcome), _) => JobState::parse(&outcome.state),
        (None, Some(_)) if record.ending => JobState::Completing,
        (None, Some(_)) => JobState::Running,
        (None, None) => JobState::Pending,
    };
    let raw_state = match &state {
        JobState::Completing => "COMPLETING",
        JobState::Running => "RUNNING",
        JobState::Pending => "PENDING",
        _ => outcome.map_or("", |outcome| &outcome.state),
    };
    let pending = waits_for.filter(|_| state == JobState::Pending).and_then(PendingReason::parse);
    JobView {
        id: job.id.to_string(),
        name: job.name.clone(),
        comment: job.comment.clone(),
        raw_state: raw_state.to_owned(),
        reason: outcome
            .and_then(|outcome| outcome.reason.clone())
            .or_else(|| pending.as_ref().map(|reason| reason.text().to_owned())),
        pending,
        nodes: start.map(|_| machine.host.clone()),
        restart_count: Some(0),
        submitted_at: Some(job.submitted_at),
        started_at: start.map(|start| start.at),
        expected_start: None,
        ends_at: outcome.map(|outcome| outcome.at).or_else(|| start.and_then(|start| start.until)),
        derived_exit: None,
        exit: outcome.and_then(|outcome| outcome.exit).map(|(code, signal)| ExitStatus { code, signal }),
        user: Some(machine.user.clone()),
        state,
    }
}

/// How a job ended that its supervisor saw end.
pub(super) fn seen(end: &End, witness: Option<Witness>) -> Outcome {
    // The script's exit trap leaves a witness, unless a signal killed the shell.
    let killed = end.code > 128 && witness.is_none();
    let exit = if killed { (0, end.code - 128) } else { (end.code, 0) };
    let (state, exit, reason) = match end.by {
        By::Exit if end.code == 0 => ("COMPLETED", exit, None),
        By::Exit if killed => ("FAILED", exit, Some(format!("RaisedSignal:{}", exit.1))),
        By::Exit => ("FAILED", exit, Some("NonZeroExitCode".to_owned())),
        By::Cancel => ("CANCELLED", exit, None),
        By::Timeout => ("TIMEOUT", exit, Some("TimeLimit".to_owned())),
        By::Shutdown => ("NODE_FAIL", exit, Some(GOING_DOWN.to_owned())),
        // Slurm's own numbers for an output file that cannot be opened.
        By::Output => ("FAILED", (0, 53), Some("JobLaunchFailure".to_owned())),
    };
    Outcome { state: state.to_owned(), exit: Some(exit), reason, at: end.at }
}

/// How a job ended that nobody saw end: its supervisor was killed, or the machine went down.
pub(super) fn unseen(same_boot: bool, cancelled: bool, witness: Option<Witness>, now: Timestamp) -> Outcome {
    let exit = witness.map(|witness| (witness.code, 0));
    let at = witness.and_then(|witness| witness.ended_at).unwrap_or(now);
    let (state, reason) = match exit {
        _ if cancelled => ("CANCELLED", None),
        Some((0, _)) => ("COMPLETED", None),
        _ if !same_boot => ("NODE_FAIL", Some(GOING_DOWN)),
        Some(_) => ("FAILED", Some("NonZeroExitCode")),
        None => ("FAILED", Some("the job's supervisor was killed; how the script ended is not known")),
    };
    Outcome { state: state.to_owned(), exit, reason: reason.map(str::to_owned), at }
}
