//! Several jobs of one experiment (`slurm.shard`), one node for all (`slurm.sameNode`), and Slurm's limits on submitted jobs.

use em_api::spec::ShardBy;
use em_api::status::ConditionType;

use super::*;
use crate::reconcile::shard::{Place, place};

fn sharded(shard: ShardBy, same_node: bool) -> World {
    let mut world = world();
    let stored = &mut world.view().open.stored;
    (stored.spec.slurm.shard, stored.spec.slurm.same_node) = (shard, same_node);
    let shards = expand(&stored.spec);
    world.view().open.shards = shards;
    world
}

/// An attempt of the shard at `index`, in this state.
fn with(mut world: World, index: usize, state: AttemptState) -> World {
    let shard = world.view().open.shards[index].id;
    world = world.with_attempt(state);
    world.last().shard = shard;
    world
}

fn on(node: &str, state: &str) -> AttemptState {
    let AttemptState::Submitted(mut submitted) = submitted(state) else { unreachable!("made so above") };
    submitted.job.node = Some(node.to_owned());
    AttemptState::Submitted(submitted)
}

fn creations(world: &World) -> Vec<em_api::ShardId> {
    let created = |action| match action {
        Action::CreateAttempt { shard, .. } => Some(shard),
        _ => None,
    };
    world.decide().actions.into_iter().filter_map(created).collect()
}

#[test]
fn each_shard_gets_a_job_of_its_own_at_once() {
    for (shard, jobs) in [(ShardBy::Experiment, 1), (ShardBy::Backend, 2), (ShardBy::Trial, 4)] {
        let world = sharded(shard, false);
        let created = creations(&world);
        assert_eq!(created, world.experiments[0].open.shards.iter().map(|shard| shard.id).collect::<Vec<_>>());
        assert_eq!(created.len(), jobs, "{shard:?}");
    }
}

#[test]
fn of_several_jobs_the_message_counts_them() {
    let world = with(sharded(ShardBy::Trial, false), 0, on("node1", "RUNNING"));
    let world = with(with(world, 1, submitted("PENDING")), 2, submitted("PENDING"));
    let shown = world.shown();
    assert_eq!((shown.phase, shown.message.as_deref()), (Phase::Running, Some("3 jobs: 1 running, 2 queued")));
}

#[test]
fn a_block_of_one_backend_is_finished_by_its_own_trial() {
    let world = sharded(ShardBy::Trial, false);
    let world = with(world, 0, over(JobOutcome::Completed)).handed(1, OutcomeKind::Measured);
    assert_eq!(world.end().kind, EndKind::Completed);
    assert_eq!(creations(&world).len(), 3, "the other three trials have jobs of their own");
}

#[test]
fn with_same_node_the_first_job_alone_decides_where_the_others_run() {
    let world = sharded(ShardBy::Backend, true);
    assert_eq!(creations(&world).len(), 1, "the first job comes alone");
    let mut waits = with(world, 0, submitted("PENDING"));
    assert_eq!((creations(&waits).len(), place(waits.view())), (0, Place::Undecided));
    waits.last().state = on("node[1-2]", "RUNNING");
    assert_eq!(place(waits.view()), Place::Undecided, "several nodes are no node");
    waits.last().state = on("node3", "RUNNING");
    assert_eq!((creations(&waits).len(), place(waits.view())), (1, Place::On("node3".to_owned())));
}

#[test]
fn the_node_stays_when_its_job_is_over() {
    let mut world = with(sharded(ShardBy::Backend, true), 0, ended(EndKind::Completed, 900));
    let AttemptState::Ended { job, .. } = &mut world.last().state else { unreachable!("made so above") };
    *job = Some(SlurmJob { id: "7".into(), node: Some("node3".into()), ..SlurmJob::default() });
    assert_eq!(place(world.view()), Place::On("node3".to_owned()));
}

#[test]
fn a_limit_of_slurms_is_told_as_throttled_with_its_words() {
    let mut world = with(sharded(ShardBy::Backend, false), 0, AttemptState::Intended { not_before: at(0) });
    world.submissions_left = 0;
    world.submit_limit = Some("AssocMaxSubmitJobLimit".to_owned());
    let shown = world.shown();
    let condition = shown.conditions.iter().find(|one| one.kind == ConditionType::Throttled).expect("it is told");
    assert_eq!(condition.reason, "SubmitLimit");
    assert!(condition.message.contains("AssocMaxSubmitJobLimit"), "{}", condition.message);
    assert!(world.decide().held_back, "it is tried again by itself");
}

#[test]
fn a_job_that_took_over_an_id_is_not_the_one_that_was_known_by_it() {
    let known = |seconds| {
        let AttemptState::Submitted(mut submitted) = submitted("RUNNING") else { unreachable!("made so above") };
        submitted.job.submitted_at = Some(at(seconds));
        AttemptState::Submitted(submitted)
    };
    let listed = |world: World, seconds, restarts| {
        let mut world = world.listing(&[("7", JobState::Failed)]);
        let job = &mut world.slurm.jobs.as_mut().expect("a listing")[0];
        (job.submitted_at, job.restart_count) = (Some(at(seconds)), Some(restarts));
        world
    };
    let is_over = |world: &World| matches!(world.moved(), AttemptState::Submitted(Submitted { over: Some(_), .. }));
    assert!(is_over(&listed(world().with_attempt(known(10)), 10, 0)), "the same job");
    assert!(is_over(&listed(world().with_attempt(known(10)), 70, 1)), "Slurm requeued it, and its submit time with it");
    let reused = listed(world().with_attempt(known(10)), 70, 0);
    let AttemptState::Submitted(state) = reused.moved() else { panic!("it is missing: {:?}", reused.moved()) };
    assert_eq!((state.over, state.missing_since), (None, Some(reused.now)));
}
