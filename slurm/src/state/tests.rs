use proptest::prelude::*;

use super::*;

const ENDS: [&str; 10] =
    ["COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "DEADLINE", "BOOT_FAIL", "REVOKED"];
/// Base states that are no end, then the flags of 22.05 to 26.05.
const LASTING: [&str; 19] = [
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
];
/// Words of Slurm's for "no state", and one of the future.
const UNKNOWN: [&str; 7] = ["?", "", "(null)", "UNINITIALISED", "invalid-placeholder", "GETENV_FAILED", "FAILED_TWICE"];

#[test]
fn every_word_of_22_05_to_26_05_is_known_and_each_end_is_an_end() {
    assert_eq!(ENDS.len() + LASTING.len(), WORDS.len());
    for word in ENDS {
        assert!(JobState::parse(word).ended(), "{word}");
    }
    for word in LASTING {
        let state = JobState::parse(word);
        assert!(!state.ended() && !matches!(state, JobState::Unknown(_)), "{word}: {state:?}");
    }
    for word in UNKNOWN {
        assert_eq!(JobState::parse(word), JobState::Unknown(word.to_owned()), "{word}");
    }
}

#[test]
fn who_cancelled_is_part_of_the_word() {
    for text in ["CANCELLED by 0", "CANCELLED by 1000", " CANCELLED by 1000 "] {
        assert_eq!(JobState::parse(text), JobState::Cancelled, "{text}");
    }
    for text in ["CANCELLED by", "CANCELLED by ", "CANCELLED by root", "CANCELLED by 10 00", "CANCELLED  by 1"] {
        assert!(matches!(JobState::parse(text), JobState::Unknown(_)), "{text}");
    }
}

#[test]
fn words_that_sacct_cuts_are_read_where_only_one_word_begins_so() {
    for (text, state) in [
        ("CANCELLED+", JobState::Cancelled),
        ("CANCELLED by 10+", JobState::Cancelled),
        ("OUT_OF_ME+", JobState::OutOfMemory),
        ("COMPLETIN+", JobState::Completing),
        ("CONFIGURI+", JobState::Configuring),
        ("SPECIAL_E+", JobState::SpecialExit),
    ] {
        assert_eq!(JobState::parse(text), state, "{text}");
    }
    // Two words begin with the second; nothing of Slurm's cuts the others there.
    for text in ["FAILED+", "COMPLETE+", "COMPLETED+", "NODE_FAIL+", "TIME+", "CANCELL+", "CANCELLED bx+", "+", "CANCELLED_X+"] {
        assert!(matches!(JobState::parse(text), JobState::Unknown(_)), "{text}");
    }
}

#[test]
fn no_flag_and_no_new_word_leaves_an_end_standing() {
    for end in ENDS {
        for other in LASTING.iter().chain(&UNKNOWN) {
            for words in [[end, other], [other, end]] {
                let state = JobState::from_words(words);
                assert!(!state.ended(), "{words:?}: {state:?}");
                assert_eq!(JobState::parse(&words.join(",")), state, "{words:?}");
                for third in LASTING.iter().chain(&ENDS) {
                    assert!(!JobState::from_words(words.into_iter().chain([*third])).ended(), "{words:?} {third}");
                }
            }
        }
    }
    assert_eq!(JobState::parse("FAILED,NEW_FLAG"), JobState::Unknown("FAILED,NEW_FLAG".to_owned()));
    assert_eq!(JobState::from_words([]), JobState::Unknown(String::new()));
}

#[test]
fn of_several_words_the_one_that_squeue_would_show_is_taken() {
    for (words, state) in [
        ("COMPLETED,COMPLETING", JobState::Completing),
        ("PENDING,REQUEUED", JobState::Requeued),
        ("RUNNING,CONFIGURING,POWER_UP_NODE", JobState::Configuring),
        ("PENDING,LAUNCH_FAILED,REQUEUE_HOLD", JobState::RequeueHold),
        ("REQUEUED,EXPEDITING,FAILED", JobState::Expediting),
        ("REVOKED,CANCELLED", JobState::Revoked),
        ("PENDING,REVOKED", JobState::Pending),
    ] {
        assert_eq!(JobState::from_words(words.split(',')), state, "{words}");
    }
}

fn known(word: &str) -> bool {
    ENDS.contains(&word)
        || LASTING.contains(&word)
        || word.strip_prefix("CANCELLED by ").is_some_and(|uid| !uid.is_empty() && uid.bytes().all(|b| b.is_ascii_digit()))
}

proptest! {
    #[test]
    fn no_unknown_word_ever_reads_as_an_end(text in "\\PC{0,40}|[A-Z_]{1,20}|[A-Za-z]{2,12}|(COMPLETED|FAILED|CANCELLED|TIMEOUT)[A-Z_a-z0-9 .:]{1,8}") {
        // Blanks around, joined and cut words are Slurm's own forms; the rest must be a word of the list.
        let plain = text.trim() == text && !text.contains([',', '+']);
        prop_assert!(!plain || known(&text) || !JobState::parse(&text).ended(), "{text}");
    }

    #[test]
    fn one_word_that_is_no_known_end_keeps_all_of_them_from_ending(
        mut words in prop::collection::vec(prop::sample::select(&ENDS[..]), 0..3),
        flags in prop::collection::vec(prop::sample::select(&LASTING[..]), 0..3),
        at in 0..6usize,
        last in "[A-Z_]{1,12}",
    ) {
        prop_assume!(!ENDS.contains(&last.as_str()));
        words.extend(flags);
        words.insert(at.min(words.len()), &last);
        let state = JobState::from_words(words.iter().copied());
        prop_assert!(!state.ended());
        prop_assert_eq!(matches!(state, JobState::Unknown(_)), !known(&last));
        prop_assert_eq!(JobState::parse(&words.join(",")), state);
    }

    #[test]
    fn the_order_of_words_does_not_matter(mut words in prop::collection::vec(prop::sample::select([&ENDS[..], &LASTING[..]].concat()), 1..5)) {
        let state = JobState::from_words(words.iter().copied());
        words.reverse();
        prop_assert_eq!(JobState::from_words(words), state);
    }
}
