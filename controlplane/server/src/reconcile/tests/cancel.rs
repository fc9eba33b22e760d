//! What the user wants: cancel, suspend, resume, delete.

use em_api::status::{ConditionStatus, ConditionType};

use super::*;

fn cancels(world: &World) -> usize {
    world.decide().actions.iter().filter(|action| matches!(action, Action::CancelJob { .. })).count()
}

#[test]
fn a_cancelled_experiment_cancels_its_job_and_ends_when_the_job_is_gone() {
    let mut world =
        world().with_attempt(submitted("RUNNING")).claimed(1).listing(&[("7", JobState::Running)]).desired(Desired::Cancelled);
    assert_eq!(cancels(&world), 1);
    world.last().state = world.moved();
    assert_eq!(cancels(&world), 0, "once");
    world.now = at(1031);
    assert_eq!(cancels(&world), 1, "and again when it does not go");
    let AttemptState::Submitted(sent) = world.last().state.clone() else { panic!("submitted") };
    let over = Some(Over { at: at(1001), outcome: JobOutcome::Cancelled, exit_code: None, spool_read: true });
    world.last().state = AttemptState::Submitted(Submitted { over, ..sent });
    world.slurm.jobs = None;
    assert_eq!(world.end().kind, EndKind::Cancelled);
    world.last().state = ended(EndKind::Cancelled, 1002);
    let shown = world.shown();
    assert!(shown.phase == Phase::Cancelled && shown.settled);
    assert_eq!(world.created(), None);
}

#[test]
fn a_cancelled_job_that_stays_is_told_of_with_what_to_look_at() {
    let listed = [("7", JobState::Running)];
    let mut world = world().with_attempt(submitted("RUNNING")).claimed(1).listing(&listed).desired(Desired::Cancelled);
    world.last().state = world.moved();
    world.now = at(1031);
    // Repeated.
    world.last().state = world.moved();
    let told = |world: &World| {
        let conditions = world.shown().conditions;
        conditions.into_iter().find(|one| one.kind == ConditionType::Stalled && one.status == ConditionStatus::True)
    };
    world.now = at(1059);
    assert_eq!(told(&world), None);
    world.now = at(1060);
    let condition = told(&world).expect("a minute after the first scancel, however often it was repeated");
    assert_eq!(condition.reason, "JobStays");
    assert!(condition.message.contains("scontrol show job 7") && condition.message.contains("RUNNING"), "{}", condition.message);
}

#[test]
fn without_a_listing_nothing_is_cancelled_because_ids_are_reused() {
    let mut world = world().with_attempt(submitted("RUNNING")).desired(Desired::Cancelled);
    world.slurm.jobs = None;
    assert_eq!(cancels(&world), 0);
}

#[test]
fn cancel_before_submission_leaves_no_job() {
    let world = world().with_attempt(AttemptState::Intended { not_before: at(0) }).desired(Desired::Cancelled);
    assert!(!world.decide().actions.iter().any(|action| matches!(action, Action::Submit { .. })));
    assert_eq!(world.end().kind, EndKind::Cancelled);
}

#[test]
fn cancel_during_an_unclear_submission_waits_until_it_is_clear() {
    let world = world().with_attempt(AttemptState::Submitting { since: at(999) }).desired(Desired::Cancelled);
    assert!(world.decide().actions.iter().all(|action| matches!(action, Action::Show { .. })));
    let found = world.listing(&[("42", JobState::Pending)]);
    assert!(matches!(found.moved(), AttemptState::Submitted(_)), "adopted first, cancelled next");
}

#[test]
fn suspending_keeps_finished_trials_and_resuming_goes_on_with_the_rest() {
    let mut world =
        world().with_attempt(ended(EndKind::Cancelled, 990)).handed(2, OutcomeKind::Measured).desired(Desired::Suspended);
    let shown = world.shown();
    assert!(shown.phase == Phase::Suspended && shown.settled && shown.finished_at.is_none());
    assert_eq!(world.created(), None);
    world = world.desired(Desired::Run);
    assert_eq!(world.created(), Some(2));
}

#[test]
fn a_deleted_experiment_goes_only_when_its_job_is_gone() {
    let removed = |world: &World| world.decide().actions.iter().any(|action| matches!(action, Action::Remove { .. }));
    let mut world = world().with_attempt(submitted("RUNNING")).listing(&[("7", JobState::Running)]);
    world.view().open.stored.deleted_at = Some(at(999));
    assert_eq!((cancels(&world), removed(&world)), (1, false));
    world.last().state = ended(EndKind::Cancelled, 999);
    world.slurm.jobs = None;
    assert!(removed(&world));
}

#[test]
fn an_experiment_that_ended_does_not_move_again() {
    for phase in [Phase::Succeeded, Phase::Failed, Phase::Cancelled] {
        let mut world = world().with_attempt(ended(EndKind::Retry, 100));
        world.view().open.stored.phase = phase;
        let shown = world.decide().actions.into_iter().find_map(|action| match action {
            Action::Show { standing, .. } => Some(standing.phase),
            _ => None,
        });
        assert!(shown.is_none_or(|shown| shown == phase));
        assert_eq!(world.created(), None, "{phase:?}");
    }
}
