//! Limits on experiments with jobs: who waits, in which order, and what they are told.

use em_api::status::{ConditionStatus, ConditionType};

use super::*;
use crate::reconcile::limits::Limits;

/// So many experiments of a team each, in the order of the store.
fn teams(teams: &[&str], limits: Limits) -> World {
    let mut world = world();
    world.knobs.limits = limits;
    world.experiments = teams
        .iter()
        .map(|team| {
            let mut one = self::world().experiments.remove(0);
            one.open.stored.uid = ExperimentUid::generate();
            one.open.stored.labels.insert("team".to_owned(), (*team).to_owned());
            one
        })
        .collect();
    world
}

fn server(most: u32) -> Limits {
    Limits { experiments: Some(most), ..Limits::default() }
}

fn per_team(most: u32) -> Limits {
    Limits { by_label: [("team".to_owned(), most)].into(), ..Limits::default() }
}

/// Which of the experiments start a job.
fn starts(world: &World) -> Vec<usize> {
    let index = |of: ExperimentUid| world.experiments.iter().position(|view| view.open.stored.uid == of).expect("one of them");
    let created = plan(world).actions.into_iter().filter_map(|action| match action {
        Action::CreateAttempt { uid, .. } => Some(index(uid)),
        _ => None,
    });
    created.collect()
}

/// What an experiment is told.
fn told(world: &World, index: usize) -> (Phase, Option<String>, Option<String>) {
    let uid = world.experiments[index].open.stored.uid;
    let standing = plan(world).actions.into_iter().find_map(|action| match action {
        Action::Show { uid: of, standing, .. } if of == uid => Some(standing),
        _ => None,
    });
    let standing = standing.expect("shown");
    let throttled = standing.conditions.iter().find(|one| {
        one.kind == ConditionType::Throttled && one.status == ConditionStatus::True && one.reason == "ConcurrencyLimit"
    });
    (standing.phase, standing.message, throttled.map(|one| one.message.clone()))
}

fn with_attempt(mut world: World, index: usize, state: AttemptState) -> World {
    let mut one = self::world().with_attempt(state);
    let attempt = Attempt {
        experiment: world.experiments[index].open.stored.uid,
        shard: world.experiments[index].open.shards[0].id,
        ..one.last().clone()
    };
    world.experiments[index].open.attempts.push(attempt);
    world
}

#[test]
fn without_limits_all_start() {
    assert_eq!(starts(&teams(&["a", "a", "b"], Limits::default())), [0, 1, 2]);
}

#[test]
fn beyond_the_servers_limit_they_wait_as_pending_with_their_place() {
    let world = teams(&["a", "a", "b", "b"], server(2));
    assert_eq!(starts(&world), [0, 1], "in the order of priority and age");
    let (phase, message, condition) = told(&world, 3);
    assert_eq!(phase, Phase::Pending);
    let condition = condition.expect("a condition");
    assert!(condition.contains("2 of 2 experiments are active (--max-active-experiments): place 2"), "{condition}");
    assert!(message.expect("words").contains("place 2"));
}

#[test]
fn a_label_limits_each_of_its_values_and_holds_up_no_other() {
    let mut world = teams(&["a", "a", "b", "a"], per_team(1));
    world.experiments[3].open.stored.labels.clear();
    assert_eq!(starts(&world), [0, 2, 3], "the second of team a waits; without the label there is no limit");
    let condition = told(&world, 1).2.expect("a condition");
    assert!(condition.contains("1 of 1 experiments with team=a are active (--max-active team=1): place 1"), "{condition}");
}

#[test]
fn a_job_and_a_pause_between_two_jobs_hold_a_place_and_a_paused_experiment_holds_none() {
    let running = with_attempt(teams(&["a", "a"], server(1)), 0, submitted("RUNNING"));
    assert!(starts(&running).is_empty());
    let between = with_attempt(teams(&["a", "a"], server(1)), 1, ended(EndKind::Retry, 999));
    assert!(starts(&between).is_empty(), "the older one does not take the place of one whose next job is due in a moment");
    let mut paused = with_attempt(teams(&["a", "a"], server(1)), 0, ended(EndKind::Cancelled, 999));
    paused.experiments[0].open.stored.spec.desired = Desired::Suspended;
    assert_eq!(starts(&paused), [1]);
    let resumed = with_attempt(paused, 1, submitted("RUNNING"));
    let mut resumed = World { ..resumed };
    resumed.experiments[0].open.stored.spec.desired = Desired::Run;
    assert!(starts(&resumed).is_empty(), "it takes its turn anew");
}

#[test]
fn one_that_lacks_its_inputs_takes_nobodys_turn() {
    let mut world = teams(&["a", "a"], server(1));
    world.experiments[0].missing_inputs = Some(vec![(em_api::inputs::EntryKind::Model, "m".to_owned())]);
    assert_eq!(starts(&world), [1]);
    assert_eq!(told(&world, 0).0, Phase::Preparing);
}

#[test]
fn when_its_turn_comes_the_condition_is_taken_back() {
    let mut world = teams(&["a", "a"], server(1));
    let shown = plan(&world).actions.into_iter().find_map(|action| match action {
        Action::Show { uid, standing, .. } if uid == world.experiments[1].open.stored.uid => Some(standing),
        _ => None,
    });
    world.experiments[1].open.stored.conditions = shown.expect("shown").conditions;
    world.experiments.remove(0);
    assert_eq!(starts(&world), [0]);
    assert_eq!(told(&world, 0).2, None);
}
