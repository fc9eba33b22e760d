//! What each source may say, and what is not ours.

use em_api::status::{ConditionStatus, ConditionType};
use em_slurm::Witness;

use super::*;

/// The listing lacks the job; accounting says `state` of it.
fn in_accounting(mut world: World, state: JobState) -> World {
    let name = world.last().job_name.clone();
    world.unlisted(Sources { found: Some(vec![job("7", &name, state)]), witness: None })
}

#[test]
fn accounting_is_believed_about_an_end_that_the_controller_has_forgotten() {
    match in_accounting(world().with_attempt(submitted("RUNNING")), JobState::OutOfMemory).moved() {
        AttemptState::Submitted(Submitted { over: Some(over), .. }) => assert_eq!(over.outcome, JobOutcome::OutOfMemory),
        other => panic!("over, not {other:?}"),
    }
}

#[test]
fn a_job_that_only_accounting_calls_running_is_missing() {
    // What a crash of the controller leaves: accounting would say RUNNING for ever.
    let world = in_accounting(world().with_attempt(submitted("RUNNING")), JobState::Running);
    let AttemptState::Submitted(first) = world.moved() else { panic!("still submitted") };
    assert_eq!(first.missing_since, Some(at(1000)));
    let long_ago = AttemptState::Submitted(Submitted { missing_since: Some(at(800)), ..first });
    match in_accounting(super::world().with_attempt(long_ago), JobState::Running).moved() {
        AttemptState::Submitted(Submitted { over: Some(over), .. }) => assert_eq!(over.outcome, JobOutcome::Vanished),
        other => panic!("vanished, not {other:?}"),
    }
}

#[test]
fn no_job_is_cancelled_by_an_id_that_only_accounting_knows() {
    // Slurm may have given the id to another job of the same account.
    let world = in_accounting(world().with_attempt(submitted("RUNNING")).desired(Desired::Cancelled), JobState::Running);
    assert!(!world.decide().actions.iter().any(|action| matches!(action, Action::CancelJob { .. } | Action::CancelStray { .. })));
}

#[test]
fn jobs_under_other_names_are_not_touched() {
    let mut world = world().with_attempt(submitted("RUNNING")).listing(&[("7", JobState::Running)]);
    let foreign = ["em-otherone-01m85zk1jhz3ejz2wn6znkzx57", "train-bert", "em-testtestx", "em-", ""];
    let jobs = foreign.iter().enumerate().map(|(at, name)| job(&(at + 20).to_string(), name, JobState::Running));
    world.slurm.jobs.as_mut().expect("listed").extend(jobs);
    let cancels =
        |action: &Action| matches!(action, Action::CancelJob { .. } | Action::CancelStray { .. } | Action::CancelDuplicate { .. });
    assert!(!world.decide().actions.iter().any(cancels));
}

#[test]
fn a_job_of_the_same_id_under_another_name_is_another_job() {
    let mut world = world().with_attempt(submitted("RUNNING"));
    world.slurm.jobs = Some(vec![job("7", "em-testtest-somebody-else", JobState::Failed)]);
    match world.moved() {
        AttemptState::Submitted(submitted) => assert!(submitted.over.is_none() && submitted.missing_since.is_some()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_end_of_a_job_is_when_slurm_says_and_not_when_we_looked() {
    // The server was away: the limit of 1 h has passed, but the job failed long before it.
    let failed_after = |seconds: i64| {
        let mut world = world().with_attempt(submitted("PENDING")).listing(&[("7", JobState::Failed)]);
        world.now = at(90_000);
        let job = &mut world.slurm.jobs.as_mut().expect("listed")[0];
        (job.started_at, job.ends_at) = (Some(at(1000)), Some(at(1000 + seconds)));
        let AttemptState::Submitted(after) = world.moved() else { panic!("not ended yet") };
        let mut over = after.over.clone().expect("over");
        assert_eq!(over.at, at(1000 + seconds));
        over.spool_read = true;
        world.last().state = AttemptState::Submitted(Submitted { over: Some(over), ..after });
        world.handed(1, OutcomeKind::Measured).end().reason
    };
    assert_eq!(failed_after(600), "JobFailed");
    assert_eq!(failed_after(3_550), "TimeLimit");
}

#[test]
fn the_witness_of_a_run_before_a_requeue_without_a_claim_says_nothing() {
    let witness = Some(Witness { code: 0, restart_count: 0, ended_at: None });
    let mut world = world().with_attempt(submitted("PENDING"));
    if let AttemptState::Submitted(submitted) = &mut world.last().state {
        submitted.job.restarts = Some(1);
    }
    match world.unlisted(Sources { found: None, witness }).moved() {
        AttemptState::Submitted(submitted) => assert_eq!(submitted.over, None),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_witness_knows_when_the_job_ended_but_never_after_now() {
    let ended_at = |seconds| {
        let witness = Some(Witness { code: 0, restart_count: 0, ended_at: Some(at(seconds)) });
        let world = world().with_attempt(submitted("RUNNING"));
        match world.unlisted(Sources { found: None, witness }).moved() {
            AttemptState::Submitted(submitted) => submitted.over.expect("over").at,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ended_at(1), at(1));
    assert_eq!(ended_at(1_000_000), at(1000), "the node's clock is ahead");
}

#[test]
fn inputs_that_were_not_looked_at_are_not_called_ready() {
    let ready = |world: &World| world.shown().conditions.into_iter().find(|one| one.kind == ConditionType::InputsReady);
    let mut world = world().with_attempt(AttemptState::Intended { not_before: at(0) });
    assert_eq!(ready(&world).map(|one| one.status), Some(ConditionStatus::True));
    world.view().missing_inputs = None;
    assert_eq!(ready(&world), None);
}

#[test]
fn a_reachable_controller_that_was_not_asked_now_changes_no_condition() {
    let mut world = world().with_attempt(submitted("PENDING"));
    world.slurm = Slurm { jobs: None, unreachable: None };
    assert!(world.shown().conditions.iter().all(|one| one.kind != ConditionType::SchedulerReachable));
}

#[test]
fn an_unreachable_controller_ends_nothing() {
    let mut world = world().with_attempt(submitted("RUNNING")).claimed(10_000);
    if let AttemptState::Submitted(submitted) = &mut world.last().state {
        submitted.missing_since = Some(at(1));
    }
    world.slurm = Slurm { jobs: None, unreachable: Some("squeue got no answer".to_owned()) };
    assert!(world.decide().actions.iter().all(|action| matches!(action, Action::Show { .. })));
    assert_eq!(world.shown().phase, Phase::Running);
}

#[test]
fn a_submission_that_was_given_up_too_early_is_adopted_and_not_made_again() {
    let world = world().with_attempt(AttemptState::Intended { not_before: at(0) }).listing(&[("42", JobState::Pending)]);
    assert!(!world.decide().actions.iter().any(|action| matches!(action, Action::Submit { .. })));
    match world.moved() {
        AttemptState::Submitted(submitted) => assert_eq!(submitted.job.id, "42"),
        other => panic!("adopted, not {other:?}"),
    }
}

#[test]
fn retries_pause_longer_each_time() {
    let pause_after = |failures: usize| {
        let mut world = world();
        world.view().open.stored.spec.retries = 20;
        for _ in 0..failures {
            world = world.with_attempt(ended(EndKind::Retry, 999));
        }
        world.decide().look_again_at.expect("later").duration_since(at(999)).as_secs()
    };
    assert_eq!([1, 2, 3, 4].map(pause_after), [10, 20, 40, 80]);
    assert_eq!(pause_after(15), 600, "ten minutes at most");
}
