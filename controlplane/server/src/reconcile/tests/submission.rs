//! The submission protocol: intent, ambiguity, adoption, duplicates.

use super::*;

#[test]
fn an_experiment_gets_its_first_attempt_and_then_its_submission() {
    assert_eq!(world().created(), Some(1));
    let world = world().with_attempt(AttemptState::Intended { not_before: at(0) });
    assert!(matches!(world.decide().actions[0], Action::Submit { .. }));
    assert_eq!(world.shown().phase, Phase::Submitting);
}

#[test]
fn no_job_is_submitted_for_what_was_delivered_late() {
    let world = world().with_attempt(ended(EndKind::Continuation, 900)).handed(4, OutcomeKind::Measured);
    let mut world = world.with_attempt(AttemptState::Intended { not_before: at(0) });
    assert!(!world.decide().actions.iter().any(|action| matches!(action, Action::Submit { .. })));
    assert_eq!(world.end().kind, EndKind::Completed);
    world.last().state = ended(EndKind::Completed, 1000);
    assert_eq!(world.shown().phase, Phase::Succeeded);
}

#[test]
fn missing_inputs_prepare_and_name_the_command() {
    let mut world = world();
    world.view().missing_inputs = Some(vec![(em_api::inputs::EntryKind::Backend, "ort".to_owned())]);
    assert_eq!(world.created(), None);
    let shown = world.shown();
    assert_eq!(shown.phase, Phase::Preparing);
    assert!(shown.message.expect("words").contains("em-agent setup"));
    world.view().missing_inputs = Some(Vec::new());
    assert_eq!(world.created(), Some(1), "goes on when they appear");
}

#[test]
fn nothing_is_submitted_while_the_controller_is_away_and_the_condition_says_so() {
    let mut world = world().with_attempt(AttemptState::Intended { not_before: at(0) });
    world.slurm = Slurm { jobs: None, unreachable: Some("squeue got no answer".to_owned()) };
    assert!(!world.decide().actions.iter().any(|action| matches!(action, Action::Submit { .. })));
    let condition = world.shown().conditions.into_iter().find(|one| one.kind == em_api::status::ConditionType::SchedulerReachable);
    assert_eq!(condition.expect("there").status, em_api::status::ConditionStatus::False);
    world.slurm = Slurm { jobs: Some(Vec::new()), unreachable: None };
    assert!(world.decide().actions.iter().any(|action| matches!(action, Action::Submit { .. })));
}

#[test]
fn submissions_keep_to_their_pace() {
    let mut world = world().with_attempt(AttemptState::Intended { not_before: at(0) });
    world.submissions_left = 0;
    assert!(!world.decide().actions.iter().any(|action| matches!(action, Action::Submit { .. })));
    let throttled = world.shown().conditions.into_iter().any(|one| one.kind == em_api::status::ConditionType::Throttled);
    assert!(throttled);
}

#[test]
fn a_submission_without_an_answer_is_adopted_by_name() {
    let world = world().with_attempt(AttemptState::Submitting { since: at(999) }).listing(&[("42", JobState::Pending)]);
    match world.moved() {
        AttemptState::Submitted(submitted) => assert_eq!(submitted.job.id, "42"),
        other => panic!("adopted, not {other:?}"),
    }
}

#[test]
fn it_is_submitted_again_only_after_an_empty_answer_past_the_settle_time() {
    let asked = Sources { found: Some(Vec::new()), witness: None };
    let waits = |world: &World| !world.decide().actions.iter().any(|action| matches!(action, Action::Move { .. }));
    let early = world().with_attempt(AttemptState::Submitting { since: at(990) }).unlisted(asked.clone());
    assert!(waits(&early), "before the settle time");
    let unasked = world().with_attempt(AttemptState::Submitting { since: at(900) }).unlisted(Sources::default());
    assert!(waits(&unasked), "accounting was not asked");
    let mut unreachable = world().with_attempt(AttemptState::Submitting { since: at(900) });
    unreachable.slurm.jobs = None;
    assert!(waits(&unreachable), "no listing");
    let mut restarted = world().with_attempt(AttemptState::Submitting { since: at(900) }).unlisted(asked.clone());
    restarted.knobs.awake_since = at(995);
    assert!(waits(&restarted), "the settle time begins anew with the server");
    let settled = world().with_attempt(AttemptState::Submitting { since: at(900) }).unlisted(asked);
    assert!(matches!(settled.moved(), AttemptState::Intended { .. }));
}

#[test]
fn a_job_found_in_accounting_is_adopted_too() {
    let mut world = world().with_attempt(AttemptState::Submitting { since: at(900) });
    let name = world.last().job_name.clone();
    let found = Some(vec![job("42", &name, JobState::Completed)]);
    let world = world.unlisted(Sources { found, witness: None });
    assert!(matches!(world.moved(), AttemptState::Submitted(_)));
}

#[test]
fn of_two_jobs_the_one_that_claimed_is_kept_whatever_its_id() {
    let two = [("7", JobState::Running), ("6", JobState::Running)];
    let world = world().with_attempt(submitted("RUNNING")).claimed(1).listing(&two);
    assert_eq!(cancelled(&world), ["6"]);
}

#[test]
fn of_two_jobs_without_a_claim_the_lowest_id_is_kept() {
    let two = [("10", JobState::Pending), ("9", JobState::Pending)];
    let unclaimed = world().with_attempt(AttemptState::Submitting { since: at(999) }).listing(&two);
    assert_eq!(cancelled(&unclaimed), ["10"]);
    let known = world().with_attempt(submitted("PENDING")).listing(&[("7", JobState::Pending), ("3", JobState::Pending)]);
    assert_eq!(cancelled(&known), ["7"]);
    match known.moved() {
        AttemptState::Submitted(submitted) => assert_eq!(submitted.job.id, "3"),
        other => panic!("the other job is taken, not {other:?}"),
    }
}

#[test]
fn of_two_jobs_without_a_claim_the_one_that_runs_is_kept_for_it_is_about_to_claim() {
    let two = [("9", JobState::Pending), ("10", JobState::Running)];
    let unclaimed = world().with_attempt(AttemptState::Submitting { since: at(999) }).listing(&two);
    assert_eq!(cancelled(&unclaimed), ["9"]);
}

#[test]
fn a_refused_submission_that_slurm_remembers_is_no_job() {
    let mut world = world().with_attempt(AttemptState::Submitting { since: at(999) }).listing(&[("5", JobState::Failed)]);
    world.slurm.jobs.as_mut().expect("listed")[0].reason = Some("BadConstraints".to_owned());
    assert!(!world.decide().actions.iter().any(|action| matches!(action, Action::Move { .. })));
}

#[test]
fn live_jobs_of_ours_that_no_open_attempt_owns_are_cancelled_and_ended_ones_left() {
    let mut world = world().with_attempt(ended(EndKind::Completed, 999)).handed(4, OutcomeKind::Measured);
    let name = world.last().job_name.clone();
    let jobs = vec![
        job("1", &name, JobState::Pending),
        job("2", "em-testtest-gone", JobState::Running),
        job("3", "em-testtest-gone2", JobState::Completed),
        job("4", "em-testtest-odd", JobState::Unknown("LAUNCH_FAILED".to_owned())),
    ];
    world.slurm.jobs = Some(jobs);
    assert_eq!(cancelled(&world), ["1", "2", "4"]);
}

fn cancelled(world: &World) -> Vec<String> {
    let stray = |action| match action {
        Action::CancelStray { job_id, .. } | Action::CancelDuplicate { job_id, .. } => Some(job_id),
        _ => None,
    };
    world.decide().actions.into_iter().filter_map(stray).collect()
}
