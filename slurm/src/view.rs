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
    /// A requeue moves it: of one job, and so of one `restart_count`, it never changes otherwise.
    pub submitted_at: Option<Timestamp>,
    /// Absent for a job that never ran.
    pub started_at: Option<Timestamp>,
    /// The scheduler's guess for a pending job; it moves.
    pub expected_start: Option<Timestamp>,
    /// When the job ended, or for a live one when its time limit ends.
    pub ends_at: Option<Timestamp>,
    /// How the batch script ended; only for a job that is over. `0:0` is also what a cancelled job has: the state decides. sacct
    /// before 25.11 takes 128 off codes above it (137 shows as 9), which cannot be undone: the witness has the true one.
    pub exit: Option<ExitStatus>,
    /// The worst end of its `srun` steps (`DerivedExitCode`), which the script may have ignored; only for a job that is over.
    pub derived_exit: Option<ExitStatus>,
    pub user: Option<String>,
}

impl JobView {
    /// Slurm said no, yet keeps a record with an id: FAILED, 1:0, no nodes, `BadConstraints`.
    pub fn refused_at_submission(&self) -> bool {
        self.state == JobState::Failed && self.nodes.is_none() && self.reason.as_deref() == Some("BadConstraints")
    }

    /// The same record in accounting, which keeps no reason for it: FAILED, and never on a node.
    pub(crate) fn failed_without_a_node(&self) -> bool {
        self.state == JobState::Failed && self.nodes.is_none() && self.started_at.is_none()
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
    pub(crate) derived_exit: Option<ExitStatus>,
    pub(crate) user: Option<String>,
}

impl From<Reported> for JobView {
    fn from(job: Reported) -> Self {
        let state = JobState::parse(&job.state);
        let waits = state.waits();
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
            derived_exit: job.derived_exit.filter(|_| state.ended()),
            user: job.user,
            nodes: job.nodes,
            state,
        }
    }
}

/// How a script or step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitStatus {
    pub code: i32,
    /// The signal that ended it, else 0. Slurm's own failures stand here too: 53 for an output file that could not be opened.
    pub signal: i32,
}

/// What Slurm means by signals that are none: its error number (`ESLURMD_…` of slurm_errno.h, 4010 to 4022) cut to a signal's seven
/// bits, and 125 for its "out of memory".
const NO_SIGNALS: [(i32, &str); 7] = [
    (42, "Slurm could not create its folder for the job on the node"),
    (46, "Slurm could not set up the job's environment"),
    (48, "Slurm could not become the job's user on the node"),
    (52, "Slurm could not execute the job's script"),
    (53, "Slurm could not open the job's output file: it must be in a folder that exists and is writable on the node"),
    (54, "the node's prolog failed"),
    (125, "out of memory"),
];

/// signal(7), x86 and ARM.
const SIGNALS: [(i32, &str); 16] = [
    (1, "HUP"),
    (2, "INT"),
    (3, "QUIT"),
    (4, "ILL"),
    (6, "ABRT"),
    (7, "BUS"),
    (8, "FPE"),
    (9, "KILL"),
    (10, "USR1"),
    (11, "SEGV"),
    (12, "USR2"),
    (13, "PIPE"),
    (14, "ALRM"),
    (15, "TERM"),
    (24, "XCPU"),
    (25, "XFSZ"),
];

impl ExitStatus {
    /// Reads `code:signal` of sacct, scontrol and newer squeues, and what squeue of 22.05 and its JSON print, a raw wait status:
    /// `768` is exit code 3, `4021` is `0:53`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some((code, signal)) = text.split_once(':') {
            return Some(Self { code: code.parse().ok()?, signal: signal.parse().ok()? });
        }
        Self::from_wait_status(text.parse().ok()?)
    }

    /// As wait(2) gives it: of a process that a signal ended only the signal counts. `None` for Slurm's "no value" (0xfffffffe).
    pub fn from_wait_status(raw: u32) -> Option<Self> {
        let (code, signal) = ((raw >> 8) as i32, (raw & 0x7f) as i32);
        (raw <= 0xffff).then_some(Self { code: if signal == 0 { code } else { 0 }, signal })
    }

    pub fn success(self) -> bool {
        self == Self { code: 0, signal: 0 }
    }

    /// For people: `exit code 3`, `killed by signal 9 (KILL)`, `0:53: Slurm could not open …`.
    pub fn in_words(self) -> String {
        let name = |number| SIGNALS.iter().find(|(known, _)| *known == number).map(|(_, name)| *name);
        match (self.code, self.signal) {
            (code, 0) => match name(code - 128) {
                Some(signal) => format!("exit code {code} (as after signal {}, {signal})", code - 128),
                None => format!("exit code {code}"),
            },
            (code, signal) => match (NO_SIGNALS.iter().find(|(known, _)| *known == signal), name(signal)) {
                (Some((_, meaning)), _) => format!("{code}:{signal}: {meaning}"),
                (None, Some(name)) => format!("killed by signal {signal} ({name})"),
                (None, None) => format!("killed by signal {signal}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_statuses_are_read_in_every_form_of_slurm() {
        // The first line of each: the raw wait status of squeue 22.05, the second `code:signal` of sacct, scontrol and squeue 26.05.
        for (texts, code, signal) in [
            (["0", "0:0"], 0, 0),
            (["256", "1:0"], 1, 0),
            (["768", "3:0"], 3, 0),
            (["35072", "137:0"], 137, 0),
            (["2304", "9:0"], 9, 0),
            (["11", "0:11"], 0, 11),
            (["139", "0:11"], 0, 11),
            (["9", "0:9"], 0, 9),
            (["15", "0:15"], 0, 15),
            (["1", "0:1"], 0, 1),
            (["4021", "0:53"], 0, 53),
            (["253", "0:125"], 0, 125),
        ] {
            for text in texts {
                assert_eq!(ExitStatus::parse(text), Some(ExitStatus { code, signal }), "{text}");
            }
        }
        for text in ["", "N/A", "4294967294", "65536", "3:", ":", "-1", "3:0:0", "a:b"] {
            assert_eq!(ExitStatus::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_end_is_said_in_peoples_words() {
        let words = |text| ExitStatus::parse(text).expect("a status").in_words();
        for (text, said) in [
            ("3:0", "exit code 3"),
            ("0:0", "exit code 0"),
            ("137:0", "exit code 137 (as after signal 9, KILL)"),
            ("128:0", "exit code 128"),
            ("200:0", "exit code 200"),
            ("0:9", "killed by signal 9 (KILL)"),
            ("0:11", "killed by signal 11 (SEGV)"),
            ("0:34", "killed by signal 34"),
            ("0:125", "0:125: out of memory"),
            (
                "4021",
                "0:53: Slurm could not open the job's output file: it must be in a folder that exists and is writable on the node",
            ),
            ("0:52", "0:52: Slurm could not execute the job's script"),
        ] {
            assert_eq!(words(text), said);
        }
    }

    #[test]
    fn only_nothing_at_all_is_success() {
        assert!(ExitStatus { code: 0, signal: 0 }.success());
        assert!(!ExitStatus { code: 0, signal: 15 }.success() && !ExitStatus { code: 1, signal: 0 }.success());
    }
}
