//! Each row of the table in DESIGN section 4.

use super::*;

#[test]
fn a_job_that_finished_all_its_blocks_completes_whatever_slurm_says_of_it() {
    for outcome in [JobOutcome::Completed, JobOutcome::Failed, JobOutcome::TimeLimit, JobOutcome::Vanished, JobOutcome::Cancelled] {
        let world = world().with_attempt(over(outcome)).handed(4, OutcomeKind::Measured);
        assert_eq!(world.end().kind, EndKind::Completed, "{outcome:?}");
    }
}

#[test]
fn trials_that_failed_by_their_own_fault_are_not_run_again() {
    let mut world = world().with_attempt(over(JobOutcome::Completed)).handed(3, OutcomeKind::Measured);
    let (block, trial) = {
        let block = world.view().open.shards[0].blocks[1].clone();
        (block.id, block.trials[1].1)
    };
    let failed = one(block, trial, world.last().id, OutcomeKind::Failed);
    world.view().open.handed.push(failed);
    assert_eq!(world.end().kind, EndKind::Completed);
    world.last().state = ended(EndKind::Completed, 999);
    assert_eq!(world.created(), None);
    let shown = world.shown();
    assert_eq!(shown.phase, Phase::Failed);
    assert!(shown.message.expect("words").contains("ServiceStartFailed"));
}

#[test]
fn retry_trials_runs_failed_trials_again_within_the_retries() {
    let mut world = world().with_attempt(over(JobOutcome::Completed)).handed(4, OutcomeKind::Failed);
    world.view().open.stored.spec.retry_trials = true;
    assert_eq!(world.end().kind, EndKind::Retry);
    world.view().open.stored.spec.retries = 0;
    assert_eq!(world.end().kind, EndKind::Completed);
}

#[test]
fn a_failed_job_and_one_out_of_memory_spend_a_retry() {
    for (outcome, reason) in [(JobOutcome::Failed, "JobFailed"), (JobOutcome::OutOfMemory, "OutOfMemory")] {
        let end = world().with_attempt(over(outcome)).handed(2, OutcomeKind::Measured).end();
        assert_eq!((end.kind, end.reason.as_str()), (EndKind::Retry, reason));
    }
}

#[test]
fn retries_are_counted_and_then_the_shard_is_given_up_with_the_last_reason() {
    let mut world = world();
    world.view().open.stored.spec.retries = 2;
    for number in 1..=2 {
        world = world.with_attempt(ended(EndKind::Retry, 100));
        assert_eq!(world.created(), Some(number + 1));
    }
    let world = world.with_attempt(ended(EndKind::Retry, 100));
    assert_eq!(world.created(), None);
    let shown = world.shown();
    assert_eq!(shown.phase, Phase::Failed);
    assert!(shown.settled);
    assert!(shown.message.expect("words").contains("spec.retries is 2"));
}

#[test]
fn the_time_limit_after_a_finished_trial_continues_and_spends_no_retry() {
    let mut world = world().with_attempt(over(JobOutcome::TimeLimit)).handed(1, OutcomeKind::Measured);
    let end = world.end();
    assert_eq!((end.kind, end.reason.as_str()), (EndKind::Continuation, "TimeLimit"));
    world.view().open.stored.spec.retries = 0;
    world.last().state = ended(EndKind::Continuation, 999);
    assert_eq!(world.created(), None, "the first pause of the back-off");
    world.now = at(1009);
    assert_eq!(world.created(), Some(2), "with no retries left");
}

#[test]
fn an_agent_that_stopped_in_time_counts_as_the_time_limit() {
    // The script exits 0 after TERM, or no further trial fits: Slurm says COMPLETED.
    let progress = world().with_attempt(over(JobOutcome::Completed)).handed(2, OutcomeKind::Measured);
    assert_eq!(progress.end().kind, EndKind::Continuation);
    let none = world().with_attempt(over(JobOutcome::Completed)).handed(1, OutcomeKind::Interrupted);
    assert_eq!(none.end().kind, EndKind::Closed);
}

#[test]
fn a_job_that_dies_next_to_its_limit_died_of_it() {
    let mut world = world().with_attempt(over(JobOutcome::Failed)).handed(1, OutcomeKind::Measured);
    if let AttemptState::Submitted(submitted) = &mut world.last().state {
        submitted.job.ends_at = Some(at(1050));
    }
    assert_eq!(world.end().reason, "TimeLimit");
}

#[test]
fn the_time_limit_without_progress_fails_at_once() {
    let end = world().with_attempt(over(JobOutcome::TimeLimit)).end();
    assert_eq!((end.kind, end.reason.as_str()), (EndKind::Closed, "TimeLimitWithoutProgress"));
    let world = world().with_attempt(ended(EndKind::Closed, 999));
    assert_eq!(world.created(), None);
    assert_eq!(world.shown().phase, Phase::Failed);
}

#[test]
fn preemption_node_failure_and_vanishing_go_on_with_and_without_progress() {
    for outcome in [JobOutcome::Preempted, JobOutcome::NodeFailed, JobOutcome::Vanished] {
        assert_eq!(world().with_attempt(over(outcome)).end().kind, EndKind::Continuation, "{outcome:?}");
        let progress = world().with_attempt(over(outcome)).handed(2, OutcomeKind::Measured);
        assert_eq!(progress.end().kind, EndKind::Continuation, "{outcome:?}");
    }
}

#[test]
fn continuations_without_progress_pause_longer_each_time_and_are_bounded() {
    let mut world = world().with_attempt(ended(EndKind::Continuation, 995));
    assert_eq!(world.created(), None, "10 s pause");
    assert_eq!(world.decide().look_again_at, Some(at(1005)));
    world.now = at(1005);
    assert_eq!(world.created(), Some(2));
    let mut world = world.with_attempt(ended(EndKind::Continuation, 1000));
    world.now = at(1019);
    assert_eq!(world.created(), None, "20 s pause");
    world.now = at(1020);
    assert_eq!(world.created(), Some(3));
    world.view().open.stored.spec.max_continuations = 1;
    assert_eq!(world.created(), None);
    assert!(world.shown().message.expect("words").contains("spec.maxContinuations is 1"));
}

#[test]
fn a_job_cancelled_by_somebody_else_is_not_submitted_again() {
    let end = world().with_attempt(over(JobOutcome::Cancelled)).handed(1, OutcomeKind::Measured).end();
    assert_eq!((end.kind, end.reason.as_str()), (EndKind::Closed, "JobCancelled"));
}

#[test]
fn a_continuation_gets_whole_blocks() {
    // Three of four trials: the second block lacks one, so both of its trials run again.
    let mut world = world().with_attempt(ended(EndKind::Continuation, 900)).handed(3, OutcomeKind::Measured);
    let shard = world.view().open.shards[0].clone();
    let left = crate::reconcile::shard::unfinished(world.view(), &shard);
    assert_eq!(left, vec![shard.blocks[1].clone()]);
    assert_eq!(left[0].trials.len(), 2);
}

#[test]
fn every_trial_measured_is_success() {
    let world = world().with_attempt(ended(EndKind::Completed, 999)).handed(4, OutcomeKind::Measured);
    let shown = world.shown();
    assert_eq!(shown.phase, Phase::Succeeded);
    assert!(shown.settled && shown.finished_at == Some(at(1000)));
}

#[test]
fn a_failed_job_says_in_words_how_it_ended() {
    for (code, words) in [(3, "exit code 3"), (128 + 9, "killed by signal 9 (KILL)"), (128 + 53, "could not open")] {
        let mut world = world().with_attempt(over(JobOutcome::Failed));
        let AttemptState::Submitted(Submitted { over: Some(over), .. }) = &mut world.last().state else {
            unreachable!("made so above")
        };
        over.exit_code = Some(code);
        assert!(world.end().message.contains(words), "{}", world.end().message);
    }
}
