//! Following a job: absence is no end, unknown words wait, the spool is read before any verdict.

use em_slurm::{ExitStatus, PendingReason, Witness};

use super::*;

fn rests(world: &World) -> bool {
    !world.decide().actions.iter().any(|action| matches!(action, Action::Move { .. } | Action::ReadSpool { .. }))
}

#[test]
fn slurms_words_become_the_phase() {
    let mut world = world().with_attempt(submitted("PENDING")).listing(&[("7", JobState::Pending)]);
    world.slurm.jobs.as_mut().expect("listed")[0].reason = Some("Resources".to_owned());
    match world.moved() {
        AttemptState::Submitted(submitted) => assert_eq!(submitted.job.reason.as_deref(), Some("Resources")),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.shown().phase, Phase::Queued);
    let claimed = world.claimed(1);
    assert_eq!(claimed.shown().phase, Phase::Running, "the claim is newer than the listing");
}

#[test]
fn an_unknown_word_waits() {
    let world = world().with_attempt(submitted("RUNNING")).claimed(1).listing(&[("7", JobState::Unknown("LAUNCH_FAILED".into()))]);
    match world.moved() {
        AttemptState::Submitted(submitted) => {
            assert_eq!(submitted.over, None);
            assert_eq!(submitted.job.state.as_deref(), Some("LAUNCH_FAILED"), "shown as it came");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn not_being_listed_is_no_end_before_every_source_was_asked_and_the_grace_is_over() {
    let asked = Sources { found: Some(Vec::new()), witness: None };
    let world = world().with_attempt(submitted("RUNNING")).claimed(500).unlisted(asked.clone());
    let AttemptState::Submitted(first) = world.moved() else { panic!("still submitted") };
    assert_eq!((first.missing_since, first.over.clone()), (Some(at(1000)), None));
    let missing = |seconds: i64, heard: i64, sources: Sources| {
        let state = AttemptState::Submitted(Submitted { missing_since: Some(at(1000 - seconds)), ..first.clone() });
        let base = super::world().with_attempt(state).claimed(heard);
        base.unlisted(sources)
    };
    assert!(rests(&missing(119, 500, asked.clone())), "within the grace");
    assert!(rests(&missing(200, 500, Sources::default())), "accounting did not answer");
    assert!(rests(&missing(200, 10, asked.clone())), "its agent speaks");
    match missing(200, 500, asked).moved() {
        AttemptState::Submitted(Submitted { over: Some(over), .. }) => assert_eq!(over.outcome, JobOutcome::Vanished),
        other => panic!("vanished, not {other:?}"),
    }
}

#[test]
fn no_listing_means_nothing_at_all() {
    let mut world = world().with_attempt(submitted("RUNNING")).claimed(500);
    world.slurm.jobs = None;
    assert!(rests(&world));
}

#[test]
fn the_witness_file_speaks_for_a_job_that_slurm_forgot() {
    for (code, outcome) in [(0, JobOutcome::Completed), (3, JobOutcome::Failed)] {
        let witness = Some(Witness { code, restart_count: 0, ended_at: None });
        let world = world().with_attempt(submitted("RUNNING")).claimed(500).unlisted(Sources { found: None, witness });
        match world.moved() {
            AttemptState::Submitted(Submitted { over: Some(over), .. }) => {
                assert_eq!((over.outcome, over.exit_code), (outcome, Some(code)));
            }
            other => panic!("over, not {other:?}"),
        }
    }
}

#[test]
fn the_witness_of_an_earlier_run_says_nothing_about_this_one() {
    let witness = Some(Witness { code: 0, restart_count: 0, ended_at: None });
    let mut world = world().with_attempt(submitted("RUNNING")).claimed(500).unlisted(Sources { found: None, witness });
    world.last().claim.as_mut().expect("claimed").restart_count = 1;
    match world.moved() {
        AttemptState::Submitted(submitted) => assert_eq!(submitted.over, None),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_spool_is_read_before_any_verdict() {
    let mut world = world().with_attempt(submitted("RUNNING")).claimed(500).listing(&[("7", JobState::Failed)]);
    world.slurm.jobs.as_mut().expect("listed")[0].exit = Some(ExitStatus { code: 3, signal: 0 });
    let AttemptState::Submitted(after) = world.moved() else { panic!("not ended yet") };
    let over = after.over.clone().expect("over");
    assert_eq!((over.outcome, over.exit_code, over.spool_read), (JobOutcome::Failed, Some(3), false));
    world.last().state = AttemptState::Submitted(after.clone());
    assert!(rests(&world), "the last files may still be on their way");
    assert_eq!(world.shown().phase, Phase::Collecting);
    world.now = at(1006);
    let read = world.decide().actions.into_iter().find_map(|action| match action {
        Action::ReadSpool { state: AttemptState::Submitted(submitted), .. } => submitted.over,
        _ => None,
    });
    assert!(read.expect("the spool is read").spool_read);
}

#[test]
fn a_farewell_needs_no_waiting_for_files() {
    let mut world = world().with_attempt(submitted("COMPLETED")).claimed(1);
    if let AttemptState::Submitted(submitted) = &mut world.last().state {
        submitted.over = Some(Over { at: at(1000), outcome: JobOutcome::Completed, exit_code: Some(0), spool_read: false });
    }
    world.last().farewell_at = Some(at(999));
    assert!(world.decide().actions.iter().any(|action| matches!(action, Action::ReadSpool { .. })));
}

#[test]
fn a_requeue_by_hand_brings_the_same_job_back() {
    let world = world().with_attempt(over(JobOutcome::Failed)).listing(&[("7", JobState::Pending)]);
    match world.moved() {
        AttemptState::Submitted(submitted) => assert_eq!(submitted.over, None),
        other => panic!("back in the queue, not {other:?}"),
    }
}

#[test]
fn a_job_that_can_never_start_is_cancelled_and_its_reason_closes_the_shard() {
    let mut world = world().with_attempt(submitted("PENDING")).listing(&[("7", JobState::Pending)]);
    let never = PendingReason::NeverStarts("PartitionTimeLimit".to_owned());
    world.slurm.jobs.as_mut().expect("listed")[0].pending = Some(never);
    assert!(world.decide().actions.iter().any(|action| matches!(action, Action::CancelJob { .. })));
    let AttemptState::Submitted(after) = world.moved() else { panic!("not ended yet") };
    let over = Some(Over { at: at(1001), outcome: JobOutcome::Cancelled, exit_code: None, spool_read: true });
    world.last().state = AttemptState::Submitted(Submitted { over, ..after });
    world.slurm.jobs = None;
    let end = world.end();
    assert_eq!((end.kind, end.reason.as_str()), (EndKind::Closed, "NeverStarts"));
    assert!(end.message.contains("PartitionTimeLimit"));
}

#[test]
fn silence_is_reported_only_of_an_agent_that_had_spoken() {
    let silent = |world: &World| {
        let shown = world.shown();
        shown.conditions.into_iter().any(|one| one.kind == em_api::status::ConditionType::AgentSilent)
    };
    let running = [("7", JobState::Running)];
    assert!(silent(&world().with_attempt(submitted("RUNNING")).claimed(61).listing(&running)));
    assert!(!silent(&world().with_attempt(submitted("RUNNING")).claimed(59).listing(&running)));
    assert!(!silent(&world().with_attempt(submitted("RUNNING")).listing(&running)));
}
