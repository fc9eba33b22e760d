//! Slurm's job states, read totally: base states and flags of 22.05 to 26.05, alone or together, and any other word kept.
//! The rule that matters: only a word that we know to be an end is an end, since what we call over is never looked at again.

/// A job's state. Flags that Slurm shows in place of the base state, or beside it, are states here.
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

impl JobState {
    /// Reads a word of `squeue` or `sacct` (`CANCELLED by 1000` too) or several joined by `,` or `+` (`COMPLETED,COMPLETING`).
    /// Of several, what still lasts outweighs an end, and an unknown word makes all of it unknown.
    pub fn parse(text: &str) -> Self {
        let states: Vec<Self> = text.split([',', '+']).map(|word| Self::parse_word(word.trim())).collect();
        if states.iter().any(|state| matches!(state, Self::Unknown(_))) {
            return Self::Unknown(text.trim().to_owned());
        }
        let lasting = |state: &&Self| !state.ended() && !matches!(state, Self::Pending | Self::Running);
        states
            .iter()
            .find(lasting)
            .or_else(|| states.iter().find(|state| !state.ended()))
            .or_else(|| states.first())
            .cloned()
            .unwrap_or_else(|| Self::Unknown(text.to_owned()))
    }

    fn parse_word(word: &str) -> Self {
        match word {
            "PENDING" => Self::Pending,
            "CONFIGURING" => Self::Configuring,
            "RUNNING" => Self::Running,
            "SUSPENDED" => Self::Suspended,
            "STOPPED" => Self::Stopped,
            "RESIZING" => Self::Resizing,
            "SIGNALING" => Self::Signaling,
            "COMPLETING" => Self::Completing,
            "STAGE_OUT" => Self::StageOut,
            "REQUEUED" => Self::Requeued,
            "REQUEUE_HOLD" => Self::RequeueHold,
            "REQUEUE_FED" => Self::RequeueFed,
            "SPECIAL_EXIT" => Self::SpecialExit,
            "RESV_DEL_HOLD" => Self::ResvDelHold,
            "COMPLETED" => Self::Completed,
            "FAILED" => Self::Failed,
            "CANCELLED" => Self::Cancelled,
            "TIMEOUT" => Self::Timeout,
            "NODE_FAIL" => Self::NodeFail,
            "OUT_OF_MEMORY" => Self::OutOfMemory,
            "PREEMPTED" => Self::Preempted,
            "DEADLINE" => Self::Deadline,
            "BOOT_FAIL" => Self::BootFail,
            "REVOKED" => Self::Revoked,
            _ if word.strip_prefix("CANCELLED by ").is_some_and(|uid| uid.bytes().all(|b| b.is_ascii_digit())) => Self::Cancelled,
            _ => Self::Unknown(word.to_owned()),
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
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENDS: [&str; 10] = [
        "COMPLETED",
        "FAILED",
        "CANCELLED",
        "TIMEOUT",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "DEADLINE",
        "BOOT_FAIL",
        "REVOKED",
    ];
    /// Flags of 22.05 to 26.05, and base states that are no end.
    const NO_ENDS: [&str; 22] = [
        "PENDING",
        "RUNNING",
        "SUSPENDED",
        "CONFIGURING",
        "COMPLETING",
        "STAGE_OUT",
        "STOPPED",
        "RESIZING",
        "SIGNALING",
        "REQUEUED",
        "REQUEUE_FED",
        "REQUEUE_HOLD",
        "SPECIAL_EXIT",
        "RESV_DEL_HOLD",
        "LAUNCH_FAILED",
        "POWER_UP_NODE",
        "RECONFIG_FAIL",
        "UPDATE_DB",
        "EXPEDITING",
        "?",
        "",
        "(null)",
    ];

    #[test]
    fn each_known_end_is_an_end() {
        for word in ENDS {
            assert!(JobState::parse(word).ended(), "{word}");
        }
        assert_eq!(JobState::parse("CANCELLED by 1000"), JobState::Cancelled);
    }

    #[test]
    fn flags_and_new_words_are_no_end_alone_or_beside_one() {
        for word in NO_ENDS {
            assert!(!JobState::parse(word).ended(), "{word}");
            for end in ENDS {
                for text in [format!("{end},{word}"), format!("{word},{end}"), format!("{end}+{word}")] {
                    assert!(!JobState::parse(&text).ended(), "{text}");
                }
            }
        }
    }

    #[test]
    fn an_unknown_word_is_kept_as_it_came() {
        assert_eq!(JobState::parse("LAUNCH_FAILED"), JobState::Unknown("LAUNCH_FAILED".to_owned()));
        assert_eq!(JobState::parse("FAILED,NEW_FLAG"), JobState::Unknown("FAILED,NEW_FLAG".to_owned()));
    }

    #[test]
    fn the_flag_of_a_pair_is_what_is_shown() {
        assert_eq!(JobState::parse("COMPLETED,COMPLETING"), JobState::Completing);
        assert_eq!(JobState::parse("PENDING,REQUEUED"), JobState::Requeued);
        assert_eq!(JobState::parse("RUNNING,CONFIGURING"), JobState::Configuring);
    }

    proptest! {
        #[test]
        fn no_unknown_word_ever_reads_as_an_end(text in "\\PC{0,40}|[A-Z_]{1,20}|[A-Za-z]{2,12}|(COMPLETED|FAILED|CANCELLED|TIMEOUT)[A-Z_a-z0-9 .:]{1,8}") {
            let known_end = ENDS.contains(&text.as_str())
                || text.strip_prefix("CANCELLED by ").is_some_and(|uid| uid.bytes().all(|b| b.is_ascii_digit()));
            // Surrounding blanks and joined words are Slurm's own forms; the rest must be a word of the list.
            let plain = text.trim() == text && !text.contains([',', '+']);
            prop_assert!(!plain || known_end || !JobState::parse(&text).ended(), "{text}");
        }

        #[test]
        fn one_word_that_is_no_end_keeps_all_of_them_from_ending(mut words in prop::collection::vec(prop::sample::select(&ENDS[..]), 0..3), at in 0..3usize, last in "[A-Z_]{1,12}") {
            prop_assume!(!ENDS.contains(&last.as_str()));
            words.insert(at.min(words.len()), &last);
            prop_assert!(!JobState::parse(&words.join(",")).ended());
        }
    }
}
