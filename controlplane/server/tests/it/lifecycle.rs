//! An experiment from its posting to its end, and what users may wish in between.

use em_api::agent::{AgentPhase, Directive, RecordBody};
use em_api::experiment::Experiment;
use em_api::measurement::Outcome;
use em_api::results::Verdict;
use em_api::spec::Desired;
use em_api::status::{ConditionType, Phase, TrialPhase};
use em_slurm::{JobState, PendingReason};

use crate::agent::{Agent, mode};
use crate::fake_slurm::Sbatch;
use crate::server::{Server, body};

#[test]
fn an_experiment_runs_from_its_posting_to_its_results() {
    let server = Server::start();
    server.create(&body("whole"));
    let reason = |one: &Experiment| one.status.jobs.first().and_then(|job| job.reason.clone());
    let waits = |one: &Experiment| one.status.phase == Phase::Queued && reason(one).as_deref() == Some("Resources");
    let queued = server.until("whole", "queued, with Slurm's reason", waits);
    assert_eq!(queued.status.jobs[0].id.as_deref(), Some("1"));
    let agent = Agent::of(&server, 0);
    assert_eq!((mode(&agent.dir), mode(&agent.dir.join("token")), mode(&agent.dir.join("plan.json"))), (0o700, 0o600, 0o600));
    assert!(
        !std::fs::read_to_string(agent.dir.join("job.sh"))
            .unwrap()
            .contains(&std::fs::read_to_string(agent.dir.join("token")).unwrap())
    );

    server.slurm.set("1", JobState::Running);
    assert_eq!(agent.claim("1", "n", 0).unwrap().epoch, 0);
    let trials = agent.trials();
    assert_eq!(trials.len(), 4);
    agent.records(vec![Agent::phase(AgentPhase::Measuring, Some(trials[0].2.id)), Agent::sample(trials[0].2.id, 123.0)]).unwrap();
    let live = server.until_phase("whole", Phase::Running).status;
    assert_eq!(live.trials.running, 1);
    let live = live.live.unwrap();
    assert_eq!((live.phase.as_str(), live.texts_per_second, live.batch_size), ("measuring", Some(123.0), Some(16)));
    assert!(live.seconds_left.is_some());

    agent.hand_in(&trials);
    agent.records(vec![Agent::log("done"), RecordBody::Farewell { message: "all trials are done".into() }]).unwrap();
    server.slurm.set("1", JobState::Completed);
    let done = server.until_phase("whole", Phase::Succeeded);
    assert_eq!((done.status.trials.succeeded, done.status.trials.total), (4, 4));
    assert!(done.status.finished_at.is_some() && done.status.live.is_none());
    assert_eq!(server.slurm.submissions().len(), 1);

    let trials = server.calls.block_on(server.client.trials("whole")).unwrap().items;
    assert!(trials.iter().all(|trial| trial.phase == TrialPhase::Succeeded && trial.texts_per_second == Some(1_600.0)));
    assert!(trials.iter().all(|trial| trial.verdict.is_some()));
    let results = server.calls.block_on(server.client.results("whole")).unwrap();
    assert!(results.complete && results.trials.iter().all(|trial| trial.verdict != Verdict::Invalid || !trial.reasons.is_empty()));
    let report = server.calls.block_on(server.client.report_file("whole", "txt")).unwrap();
    assert!(String::from_utf8(report).unwrap().contains("whole"));
}

#[test]
fn missing_inputs_prepare_and_it_goes_on_when_they_appear() {
    let server = Server::start();
    let created = server
        .calls
        .block_on(server.client.create_experiment(em_api::client::experiments::Body::Json(body("inputs")), false))
        .unwrap();
    let waiting = server.until_phase("inputs", Phase::Preparing);
    let condition = waiting.status.conditions.iter().find(|one| one.kind == ConditionType::InputsReady).unwrap();
    assert!(condition.message.contains("em-agent setup --store"), "{}", condition.message);
    assert!(server.slurm.submissions().is_empty());
    server.provide_inputs(&created.answer.experiment);
    server.until_phase("inputs", Phase::Queued);
}

#[test]
fn cancel_stops_the_job_and_tells_its_agent() {
    let server = Server::start();
    server.create(&body("stop"));
    server.until_phase("stop", Phase::Queued);
    let agent = Agent::of(&server, 0);
    agent.claim("1", "n", 0).unwrap();
    assert_eq!(agent.records(Vec::new()).unwrap(), Directive::Continue);
    server.calls.block_on(server.client.set_desired("stop", Desired::Cancelled)).unwrap();
    assert_eq!(agent.records(Vec::new()).unwrap(), Directive::Cancel);
    server.until_phase("stop", Phase::Cancelled);
    assert_eq!((server.slurm.cancelled(), server.slurm.live()), (vec!["1".to_owned()], 0));
    let again = server.calls.block_on(server.client.set_desired("stop", Desired::Run)).unwrap_err();
    assert_eq!(again.problem().unwrap().code, "already_ended");
}

#[test]
fn suspend_keeps_finished_blocks_and_resume_runs_the_rest() {
    let server = Server::start();
    server.create(&body("pause"));
    server.until_phase("pause", Phase::Queued);
    let first = Agent::of(&server, 0);
    first.claim("1", "n", 0).unwrap();
    let block = first.trials()[0].2.block;
    let finished: Vec<_> = first.trials().into_iter().filter(|trial| trial.2.block == block).collect();
    first.hand_in(&finished);
    server.calls.block_on(server.client.set_desired("pause", Desired::Suspended)).unwrap();
    let paused = server.until_phase("pause", Phase::Suspended);
    assert_eq!(paused.status.trials.succeeded, 2);
    server.calls.block_on(server.client.set_desired("pause", Desired::Run)).unwrap();
    server.until("pause", "a second job", |_| server.slurm.submissions().len() == 2);
    let second = Agent::of(&server, 1);
    let rest: Vec<_> = second.trials().iter().map(|trial| trial.2.block).collect();
    assert!(rest.len() == 2 && !rest.contains(&block), "the other block, whole");
}

#[test]
fn a_deleted_experiment_is_gone_with_its_job_and_its_name_is_free() {
    let server = Server::start();
    let first = server.create(&body("gone"));
    server.until_phase("gone", Phase::Queued);
    server.calls.block_on(server.client.delete_experiment("gone")).unwrap();
    let begin = std::time::Instant::now();
    while server.calls.block_on(server.client.experiment("gone")).is_ok() {
        assert!(begin.elapsed().as_secs() < 20, "it goes");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(server.slurm.live(), 0);
    assert_ne!(server.create(&body("gone")).metadata.uid, first.metadata.uid);
}

#[test]
fn the_time_limit_continues_with_whole_blocks_and_spends_no_retry() {
    let server = Server::start();
    let mut posted = body("limit");
    posted["spec"]["retries"] = 0.into();
    server.create(&posted);
    server.until_phase("limit", Phase::Queued);
    let first = Agent::of(&server, 0);
    first.claim("1", "n", 0).unwrap();
    let trials = first.trials();
    // Three of four: the fourth is interrupted, so its block runs again, whole.
    let last_block = trials[3].2.block;
    first.hand_in(&trials[..3]);
    first.put(&first.measurement(&trials[3], Outcome::Interrupted { message: "time limit".into() })).unwrap();
    server.slurm.set("1", JobState::Timeout);
    server.until("limit", "a continuation", |_| server.slurm.submissions().len() == 2);
    let second = Agent::of(&server, 1);
    assert_eq!(second.plan.attempt_number, 2);
    assert!(second.trials().iter().all(|trial| trial.2.block == last_block) && second.trials().len() == 2);
    second.claim("2", "m", 0).unwrap();
    second.hand_in(&second.trials());
    server.slurm.set("2", JobState::Completed);
    let done = server.until_phase("limit", Phase::Succeeded);
    assert_eq!(done.status.trials.succeeded, 4);
}

#[test]
fn a_refused_job_fails_with_sbatchs_words() {
    let server = Server::start();
    server.slurm.next_sbatch(Sbatch::Refuses("sbatch: error: invalid partition specified: nope"));
    server.create(&body("refused"));
    let failed = server.until_phase("refused", Phase::Failed);
    assert!(failed.status.message.unwrap().contains("invalid partition specified: nope"));
    let trials = server.calls.block_on(server.client.trials("refused")).unwrap().items;
    assert!(trials.iter().all(|trial| trial.phase == TrialPhase::Failed && trial.reason.as_deref() == Some("Rejected")));
}

#[test]
fn a_job_that_can_never_start_fails_with_slurms_reason() {
    let server = Server::start();
    server.create(&body("never"));
    server.until_phase("never", Phase::Queued);
    server.slurm.set_pending("1", PendingReason::NeverStarts("PartitionTimeLimit".into()));
    let failed = server.until_phase("never", Phase::Failed);
    assert!(failed.status.message.unwrap().contains("PartitionTimeLimit"));
    assert_eq!(server.slurm.cancelled(), ["1"]);
}
