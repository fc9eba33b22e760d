//! One experiment that cannot be decided, or whose steps fail, leaves all others as they are.

use em_api::status::{ConditionStatus, ConditionType};

use super::*;
use crate::reconcile::plan::{experiment, plan_by};
use crate::reconcile::world::{Step, Trouble};

/// Twenty experiments, each with an attempt to be submitted.
fn twenty() -> World {
    let mut world = world();
    world.experiments = (0..20)
        .map(|_| {
            let mut one = self::world().with_attempt(AttemptState::Intended { not_before: at(0) });
            let uid = ExperimentUid::generate();
            one.view().open.stored.uid = uid;
            one.last().experiment = uid;
            one.experiments.remove(0)
        })
        .collect();
    world
}

fn trouble(step: Step) -> Trouble {
    Trouble { step, reason: "Panicked", message: "a defect; report it".to_owned(), rests: true }
}

fn stalled(standing: &Standing) -> Option<ConditionStatus> {
    standing.conditions.iter().find(|one| one.kind == ConditionType::Stalled).map(|one| one.status)
}

#[test]
fn a_panic_about_one_of_twenty_changes_nothing_for_the_others() {
    let mut world = twenty();
    world.submissions_left = 19;
    let poisoned = world.experiments[7].open.stored.uid;
    let decisions = plan_by(&world, |world, listing, view, submissions, decisions| {
        experiment(world, listing, view, submissions, decisions);
        assert!(view.open.stored.uid != poisoned, "a defect");
    });
    assert_eq!(decisions.panicked, [(poisoned, "a defect".to_owned())]);
    let submitted: Vec<_> = decisions
        .actions
        .iter()
        .filter_map(|action| if let Action::Submit { uid, .. } = action { Some(*uid) } else { None })
        .collect();
    assert_eq!(submitted.len(), 19, "what the poisoned one had taken of the pace is given back");
    assert!(!submitted.contains(&poisoned), "what it had decided before is dropped");
}

#[test]
fn while_it_rests_it_only_says_that_it_is_stalled_and_that_once() {
    let mut world = twenty();
    let uid = world.experiments[7].open.stored.uid;
    world.experiments[7].troubles = vec![trouble(Step::Decide)];
    let of_it = |world: &World| -> Vec<Standing> {
        let shown = plan(world).actions.into_iter().filter_map(|action| match action {
            Action::Show { uid: of, standing, .. } if of == uid => Some(standing),
            Action::Submit { uid: of, .. } if of == uid => panic!("it rests"),
            _ => None,
        });
        shown.collect()
    };
    let shown = of_it(&world).pop().expect("the condition");
    assert_eq!(stalled(&shown), Some(ConditionStatus::True));
    assert_eq!(shown.phase, world.experiments[7].open.stored.phase);
    world.experiments[7].open.stored.conditions = shown.conditions;
    assert!(of_it(&world).is_empty());
    // Tried again with success: the condition is taken back.
    world.experiments[7].troubles.clear();
    let shown = plan(&world).actions.into_iter().find_map(|action| match action {
        Action::Show { uid: of, standing, .. } if of == uid => Some(standing),
        _ => None,
    });
    assert_eq!(stalled(&shown.expect("shown")), Some(ConditionStatus::False));
}

#[test]
fn a_step_that_failed_rests_alone_and_gives_back_what_it_took() {
    let mut world = twenty();
    world.submissions_left = 1;
    world.experiments[0].troubles = vec![trouble(Step::Submit)];
    let decisions = plan(&world);
    let second = world.experiments[1].open.stored.uid;
    let submits: Vec<_> = decisions.actions.iter().filter(|action| matches!(action, Action::Submit { .. })).collect();
    assert!(matches!(submits[..], [Action::Submit { uid, .. }] if *uid == second));
    world.experiments[0].troubles[0].rests = false;
    assert!(
        plan(&world).actions.iter().any(|action| matches!(action, Action::Submit { uid, .. } if *uid != second)),
        "tried again"
    );
}

#[test]
fn nothing_is_submitted_while_its_inputs_cannot_be_looked_for() {
    let mut world = world();
    world.view().missing_inputs = None;
    assert_eq!(world.created(), Some(1));
    world.view().troubles = vec![trouble(Step::Inputs)];
    assert_eq!(world.created(), None);
}

#[test]
fn a_submission_that_stays_unclear_for_a_minute_is_told() {
    let status = |since| {
        let mut world = world().with_attempt(AttemptState::Submitting { since: at(since) });
        world.slurm.jobs = Some(Vec::new());
        stalled(&world.shown())
    };
    assert_eq!(status(930), None, "20 s to settle and a minute");
    assert_eq!(status(900), Some(ConditionStatus::True));
}
