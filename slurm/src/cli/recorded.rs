//! What real Slurms printed, read: the lines of `tests/fixtures/recorded-…`, taken while the live tests ran. A version that is not
//! installed where the tests run is thus tried all the same.

use super::{accounting, listing};
use crate::{JobState, JobView, PendingReason};

const LISTINGS: [&str; 2] = [
    include_str!("../../tests/fixtures/recorded-22.05.8-squeue.txt"),
    include_str!("../../tests/fixtures/recorded-26.05.3-squeue.txt"),
];
const ACCOUNTS: [&str; 2] = [
    include_str!("../../tests/fixtures/recorded-22.05.8-sacct.txt"),
    include_str!("../../tests/fixtures/recorded-26.05.3-sacct.txt"),
];

/// Job names of the live tests; then state, exit status and the worst of the steps, in the listing of both versions.
const ENDS: [(&str, JobState, &str, &str); 14] = [
    ("exit-0", JobState::Completed, "0:0", "0:0"),
    ("exit-3", JobState::Failed, "3:0", "0:0"),
    ("exit-137", JobState::Failed, "137:0", "0:0"),
    ("segv", JobState::Failed, "0:11", "0:0"),
    ("kill", JobState::Failed, "0:9", "0:0"),
    ("no-interpreter", JobState::Failed, "2:0", "0:0"),
    ("no-output", JobState::Failed, "0:53", "0:0"),
    ("step-7", JobState::Completed, "0:0", "7:0"),
    ("step-killed", JobState::Completed, "0:0", "0:9"),
    ("trapped", JobState::Cancelled, "0:0", "0:0"),
    ("preempted", JobState::Preempted, "0:15", "0:0"),
    ("timeout", JobState::Timeout, "0:15", "0:0"),
    ("in-time", JobState::Completed, "0:0", "0:0"),
    ("deadline", JobState::Deadline, "0:1", "0:0"),
];

fn status(text: &str) -> Option<crate::ExitStatus> {
    crate::ExitStatus::parse(text)
}

fn of<'a>(views: &'a [JobView], name: &str) -> Vec<&'a JobView> {
    views.iter().filter(|view| view.name == name).collect()
}

#[test]
fn both_versions_say_the_same_of_each_end() {
    for text in LISTINGS {
        let views = listing::parse(text).expect("readable");
        for (name, state, exit, derived) in &ENDS {
            let last = *of(&views, name).last().expect(name);
            assert_eq!((&last.state, last.exit, last.derived_exit), (state, status(exit), status(derived)), "{last:?}");
            assert!(last.pending.is_none() && last.expected_start.is_none() && last.ends_at.is_some(), "{last:?}");
        }
        let node = of(&views, "node-down")[0];
        assert_eq!((&node.state, node.reason.as_deref()), (&JobState::NodeFail, Some("NodeDown")));
    }
    let oom = listing::parse(LISTINGS[1]).expect("readable");
    let (script, step) = (of(&oom, "oom")[0], of(&oom, "oom-in-step")[0]);
    assert_eq!((&script.state, script.exit), (&JobState::OutOfMemory, status("0:125")));
    assert_eq!((&step.state, step.exit, step.derived_exit), (&JobState::Completed, status("0:0"), status("0:125")));
}

#[test]
fn accounting_says_so_too_but_for_what_only_the_controller_knows() {
    for (at, text) in ACCOUNTS.into_iter().enumerate() {
        let views = accounting::parse(text).expect("readable");
        for (name, state, exit, derived) in &ENDS {
            let last = *of(&views, name).last().expect(name);
            assert_eq!((&last.state, last.derived_exit, last.restart_count), (state, status(derived), None), "{last:?}");
            let exit = match *name {
                "exit-137" if at == 0 => "9:0",
                // Who ended it is in the state.
                "preempted" | "timeout" => "0:0",
                "deadline" => "1:0",
                _ => exit,
            };
            assert_eq!(last.exit, status(exit), "{last:?}");
            assert_eq!(last.started_at.is_some(), *name != "deadline", "{last:?}");
        }
        let queue = of(&views, "cancelled-in-queue")[0];
        assert_eq!((&queue.state, queue.nodes.as_deref(), queue.started_at), (&JobState::Cancelled, None, None));
    }
}

#[test]
fn whoever_waits_has_a_reason_a_guess_or_none_and_no_end() {
    for text in LISTINGS {
        let views = listing::parse(text).expect("readable");
        for view in views.iter().filter(|view| view.state == JobState::Pending) {
            assert!(view.pending.is_some(), "{view:?}");
            assert!(view.started_at.is_none() && view.ends_at.is_none() && view.exit.is_none() && view.nodes.is_none(), "{view:?}");
        }
        for (name, reason, never) in [
            ("begin", "BeginTime", false),
            ("down", "PartitionDown", false),
            ("held", "JobHeldUser", false),
            ("dependency", "Dependency", false),
            ("prolog-failed", "launch failed requeued held", false),
            ("impossible", "DependencyNeverSatisfied", true),
            ("nodes", "PartitionConfig", true),
        ] {
            let Some(view) = of(&views, name).into_iter().find(|view| view.state == JobState::Pending) else { continue };
            assert_eq!(view.reason.as_deref(), Some(reason));
            assert_eq!(matches!(view.pending, Some(PendingReason::NeverStarts(_))), never, "{view:?}");
        }
        let guess = of(&views, "begin")[0];
        assert!(guess.expected_start > guess.submitted_at, "{guess:?}");
    }
}

#[test]
fn what_lasts_is_no_end_and_a_comeback_counts() {
    for text in LISTINGS {
        let views = listing::parse(text).expect("readable");
        for state in [JobState::Completing, JobState::Running] {
            let lasting: Vec<&JobView> = views.iter().filter(|view| view.state == state).collect();
            assert!(!lasting.is_empty() && lasting.iter().all(|view| view.exit.is_none() && view.started_at.is_some()));
        }
        let again = of(&views, "preempted-requeued")[0];
        assert_eq!((&again.state, again.restart_count, again.exit), (&JobState::Pending, Some(1), None));
    }
}
