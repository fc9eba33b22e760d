//! One job as Slurm shows it at one moment.

use jiff::Timestamp;

use crate::{JobState, PendingReason};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobView {
    pub id: String,
    pub name: String,
    /// Empty where there is none. Accounting keeps it only on sites with `AccountingStoreFlags=job_comment`.
    pub comment: String,
    pub state: JobState,
    /// Slurm's own word.
    pub raw_state: String,
    /// Slurm's reason as it came; absent for `None`.
    pub reason: Option<String>,
    /// The reason judged, for a pending job that has one.
    pub pending: Option<PendingReason>,
    /// Slurm's node list; absent until the job has nodes.
    pub nodes: Option<String>,
    /// How often Slurm has started it again under the same id. Accounting does not know.
    pub restart_count: Option<u32>,
    pub submitted_at: Option<Timestamp>,
    /// Absent for a job that never ran.
    pub started_at: Option<Timestamp>,
    /// The scheduler's guess for a pending job; it moves.
    pub expected_start: Option<Timestamp>,
    /// When the job ended, or for a live one when its time limit ends.
    pub ends_at: Option<Timestamp>,
    /// Only for a job that is over. `0:0` is also what a cancelled job has: the state decides.
    pub exit: Option<ExitStatus>,
    pub user: Option<String>,
}

impl JobView {
    /// Slurm said no, yet keeps a record with an id: FAILED, 1:0, no nodes.
    pub(crate) fn refused_at_submission(&self) -> bool {
        self.state == JobState::Failed && self.nodes.is_none() && self.reason.as_deref() == Some("BadConstraints")
    }
}

/// A job as the controller reports it, by whatever way, before it is judged.
pub(crate) struct Reported {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) comment: String,
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
    pub(crate) nodes: Option<String>,
    pub(crate) restart_count: Option<u32>,
    pub(crate) submitted: Option<Timestamp>,
    pub(crate) start: Option<Timestamp>,
    pub(crate) end: Option<Timestamp>,
    pub(crate) exit: Option<ExitStatus>,
    pub(crate) user: Option<String>,
}

impl From<Reported> for JobView {
    fn from(job: Reported) -> Self {
        let state = JobState::parse(&job.state);
        let waits = matches!(state, JobState::Pending | JobState::Requeued | JobState::RequeueHold | JobState::SpecialExit);
        let reason = job.reason.filter(|reason| !matches!(reason.as_str(), "" | "None" | "(null)"));
        Self {
            id: job.id,
            name: job.name,
            comment: job.comment,
            raw_state: job.state,
            pending: reason.as_deref().filter(|_| waits).and_then(PendingReason::parse),
            reason,
            restart_count: job.restart_count,
            submitted_at: job.submitted,
            // A job cancelled in the queue has a start time, its end.
            started_at: job.start.filter(|_| !waits && job.nodes.is_some()),
            expected_start: job.start.filter(|_| waits),
            ends_at: job.end.filter(|_| !waits),
            exit: job.exit.filter(|_| state.ended()),
            user: job.user,
            nodes: job.nodes,
            state,
        }
    }
}

/// How the batch script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitStatus {
    pub code: i32,
    pub signal: i32,
}

impl ExitStatus {
    /// Reads what squeue prints, a raw wait status (`768` is exit code 3), and what sacct and scontrol print, `code:signal`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some((code, signal)) = text.split_once(':') {
            return Some(Self { code: code.parse().ok()?, signal: signal.parse().ok()? });
        }
        let raw: u32 = text.parse().ok()?;
        // Slurm's "no value" is 0xfffffffe.
        (raw <= 0xffff).then_some(Self { code: (raw >> 8) as i32, signal: (raw & 0x7f) as i32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_statuses_are_read_as_squeue_and_sacct_print_them() {
        // Left: as seen on 22.05 (raw wait status of squeue, then sacct and scontrol).
        for (text, code, signal) in [
            ("0", 0, 0),
            ("768", 3, 0),
            ("35072", 137, 0),
            ("11", 0, 11),
            ("9", 0, 9),
            ("15", 0, 15),
            ("4021", 15, 53),
            ("253", 0, 125),
            ("3:0", 3, 0),
            ("0:125", 0, 125),
        ] {
            assert_eq!(ExitStatus::parse(text), Some(ExitStatus { code, signal }), "{text}");
        }
        for text in ["", "N/A", "4294967294", "3:", ":", "-1", "3:0:0"] {
            assert_eq!(ExitStatus::parse(text), None, "{text}");
        }
    }
}
