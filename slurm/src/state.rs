//! Slurm's job states, read totally: base states and flags of 22.05 to 26.05, alone or together, and any other word kept.
//! The rule that matters: only a word that we know to be an end is an end, since what we call over is never looked at again.

/// A job's state. Flags that Slurm shows in place of the base state, or beside it, are states here (squeue(1), JOB STATE CODES;
/// `JOB_STATE_…` and the `JOB_…` flags of slurm.h).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum JobState {
    Pending,
    /// Nodes are being prepared for it.
    Configuring,
    Running,
    Suspended,
    /// Stopped by a signal, still on its nodes.
    Stopped,
    Resizing,
    Signaling,
    /// Its processes are ending, or its node has not yet reported so.
    Completing,
    StageOut,
    Requeued,
    RequeueHold,
    RequeueFed,
    SpecialExit,
    ResvDelHold,
    /// Its nodes must be switched on first.
    PowerUpNode,
    /// Its nodes could not be prepared: it goes back into the queue.
    ReconfigFail,
    /// Its script could not be started: it goes back into the queue.
    LaunchFailed,
    /// Goes back into the queue at once, before other jobs (25.05 and later).
    Expediting,
    /// Its start has not yet reached accounting (until 24.05).
    UpdateDb,

    Completed,
    Failed,
    Cancelled,
    Timeout,
    NodeFail,
    OutOfMemory,
    Preempted,
    Deadline,
    BootFail,
    /// Taken over by another cluster of a federation.
    Revoked,

    /// A word that we do not know: it waits and is shown.
    Unknown(String),
}

/// Every word, those first that outweigh the ones below when several stand together: Slurm's own order, but that no end hides
/// what still lasts. (`job_state_string` puts REVOKED above the base state; a pending job that is REVOKED here is alive elsewhere.)
static WORDS: [(&str, JobState); 29] = [
    ("COMPLETING", JobState::Completing),
    ("STAGE_OUT", JobState::StageOut),
    ("CONFIGURING", JobState::Configuring),
    ("EXPEDITING", JobState::Expediting),
    ("RESIZING", JobState::Resizing),
    ("REQUEUED", JobState::Requeued),
    ("REQUEUE_FED", JobState::RequeueFed),
    ("REQUEUE_HOLD", JobState::RequeueHold),
    ("SPECIAL_EXIT", JobState::SpecialExit),
    ("STOPPED", JobState::Stopped),
    ("RESV_DEL_HOLD", JobState::ResvDelHold),
    ("SIGNALING", JobState::Signaling),
    ("POWER_UP_NODE", JobState::PowerUpNode),
    ("RECONFIG_FAIL", JobState::ReconfigFail),
    ("LAUNCH_FAILED", JobState::LaunchFailed),
    ("UPDATE_DB", JobState::UpdateDb),
    ("SUSPENDED", JobState::Suspended),
    ("RUNNING", JobState::Running),
    ("PENDING", JobState::Pending),
    ("REVOKED", JobState::Revoked),
    ("OUT_OF_MEMORY", JobState::OutOfMemory),
    ("NODE_FAIL", JobState::NodeFail),
    ("BOOT_FAIL", JobState::BootFail),
    ("PREEMPTED", JobState::Preempted),
    ("DEADLINE", JobState::Deadline),
    ("TIMEOUT", JobState::Timeout),
    ("CANCELLED", JobState::Cancelled),
    ("FAILED", JobState::Failed),
    ("COMPLETED", JobState::Completed),
];

/// sacct's column `State` is 10 wide unless asked otherwise: it cuts longer words to this and puts `+`.
const CUT: usize = 9;

impl JobState {
    /// Reads what squeue, sacct or scontrol print: a word, `CANCELLED by 1000`, words joined by `,` or `+`
    /// (`COMPLETED,COMPLETING`), or a word that sacct has cut (`OUT_OF_ME+`, `CANCELLED+`).
    pub fn parse(text: &str) -> Self {
        match text.trim().strip_suffix('+').and_then(uncut) {
            Some(state) => state,
            None => Self::from_words(text.split([',', '+'])),
        }
    }

    /// Reads the words of one job, as JSON gives them since 23.11 (`["PENDING", "REQUEUED"]`), in any order. Of several, what
    /// still lasts outweighs an end, and an unknown word makes all of it unknown.
    pub fn from_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let words: Vec<&str> = words.into_iter().map(str::trim).collect();
        let ranks: Option<Vec<usize>> = words.iter().map(|word| rank(word)).collect();
        match ranks.and_then(|ranks| ranks.into_iter().min()) {
            Some(first) => WORDS[first].1.clone(),
            None => Self::Unknown(words.join(",")),
        }
    }

    /// Whether the job is over. Unknown words and `COMPLETING` are not. Even then `scontrol requeue` may bring the same id back.
    pub fn ended(&self) -> bool {
        matches!(
            self,
            Self::Completed
                | Self::Failed
                | Self::Cancelled
                | Self::Timeout
                | Self::NodeFail
                | Self::OutOfMemory
                | Self::Preempted
                | Self::Deadline
                | Self::BootFail
                | Self::Revoked
        )
    }

    /// Whether it is in the queue, for the first time or again: then it has a reason, and its start time is a guess.
    pub(crate) fn waits(&self) -> bool {
        matches!(
            self,
            Self::Pending
                | Self::Requeued
                | Self::RequeueHold
                | Self::RequeueFed
                | Self::SpecialExit
                | Self::ResvDelHold
                | Self::ReconfigFail
                | Self::LaunchFailed
                | Self::Expediting
        )
    }
}

fn rank(word: &str) -> Option<usize> {
    let digits = |uid: &str| !uid.is_empty() && uid.bytes().all(|b| b.is_ascii_digit());
    let word = if word.strip_prefix("CANCELLED by ").is_some_and(digits) { "CANCELLED" } else { word };
    WORDS.iter().position(|(known, _)| *known == word)
}

/// The one state whose word begins like this and goes on. Too short a stem, or one of two words, stays unknown.
fn uncut(stem: &str) -> Option<JobState> {
    if stem.len() < CUT {
        return None;
    }
    if let Some(uid) = stem.strip_prefix("CANCELLED") {
        let rest = uid.strip_prefix(" by ").is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        return (rest || " by ".starts_with(uid)).then_some(JobState::Cancelled);
    }
    let mut longer = WORDS.iter().filter(|(word, _)| word.len() > stem.len() && word.starts_with(stem));
    longer.next().filter(|_| longer.next().is_none()).map(|(_, state)| state.clone())
}

#[cfg(test)]
mod tests;
