//! The claim protocol and what is accepted of an agent, through its own client.

use em_api::agent::{Directive, Record, RecordBatch, RecordBody};
use em_api::client::agent::AgentCallError;
use em_api::measurement::Outcome;
use em_api::spec::Desired;
use em_api::status::TrialPhase;
use em_controlplane::store::now;
use reqwest::{Method, StatusCode};

use super::server::{Server, problem};

fn heartbeat(epoch: u32) -> RecordBatch {
    RecordBatch { epoch, records: Vec::new() }
}

#[tokio::test]
async fn one_process_claims_and_may_ask_again() {
    let server = Server::start().await;
    let job = server.submitted("demo").await;
    let answer = job.claimed().await;
    assert_eq!((answer.epoch, answer.directive), (0, Directive::Continue));
    assert_eq!(job.claimed().await, answer, "the same nonce again");
    let second = job.agent.claim(&job.claim_request(0, "second")).await.unwrap_err();
    assert!(matches!(&second, AgentCallError::AlreadyClaimed(why) if why.contains("4711")), "{second:?}");
    let mut foreign = job.claim_request(5, "third");
    foreign.slurm_job_id = "4712".to_owned();
    assert!(matches!(job.agent.claim(&foreign).await.unwrap_err(), AgentCallError::AlreadyClaimed(_)), "another job is no requeue");
    let shown = server.client(&server.admin).jobs("demo").await.unwrap().items.remove(0);
    assert_eq!((shown.id.as_deref(), shown.node.as_deref(), shown.state.as_str()), (Some("4711"), Some("node1"), "RUNNING"));
    server.stop().await;
}

#[tokio::test]
async fn a_requeue_takes_over_and_fences_what_ran_before() {
    let server = Server::start().await;
    let job = server.submitted("demo").await;
    job.claimed().await;
    job.agent.post_records(job.attempt, &heartbeat(0)).await.unwrap();
    let requeued = job.agent.claim(&job.claim_request(1, "requeued")).await.unwrap();
    assert_eq!(requeued.epoch, 1);

    let records = job.agent.post_records(job.attempt, &heartbeat(0)).await.unwrap_err();
    assert!(matches!(records, AgentCallError::Fenced(_)), "{records:?}");
    let old = job.measurement(&job.rows[0]);
    assert!(matches!(job.hand_in(&old).await.unwrap_err(), AgentCallError::Fenced(_)));
    let claim = job.agent.claim(&job.claim_request(0, "first")).await.unwrap_err();
    assert!(matches!(claim, AgentCallError::AlreadyClaimed(_)), "{claim:?}");

    job.agent.post_records(job.attempt, &heartbeat(1)).await.unwrap();
    let mut new = old;
    new.epoch = 1;
    job.hand_in(&new).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn nobody_is_heard_before_the_claim() {
    let server = Server::start().await;
    let job = server.submitted("demo").await;
    assert!(matches!(job.agent.post_records(job.attempt, &heartbeat(0)).await.unwrap_err(), AgentCallError::Fenced(_)));
    assert!(matches!(job.hand_in(&job.measurement(&job.rows[0])).await.unwrap_err(), AgentCallError::Fenced(_)));
    server.stop().await;
}

#[tokio::test]
async fn the_first_measurement_wins() {
    let server = Server::start().await;
    let job = server.submitted("demo").await;
    job.claimed().await;
    let first = job.measurement(&job.rows[0]);
    job.hand_in(&first).await.unwrap();
    job.hand_in(&first).await.unwrap();
    let other = job.hand_in(&job.measured(&job.rows[0], 200)).await.unwrap_err();
    assert!(matches!(other, AgentCallError::Conflict(_)), "{other:?}");
    job.hand_in(&first).await.unwrap();

    let held = server.store.measurements(job.uid).await.unwrap();
    assert_eq!(held.into_iter().map(|(_, measurement)| measurement).collect::<Vec<_>>(), [first]);
    let trials = server.client(&server.admin).trials("demo").await.unwrap().items;
    let done: Vec<_> = trials.iter().filter(|trial| trial.phase == TrialPhase::Succeeded).map(|trial| trial.id).collect();
    assert_eq!(done, [job.rows[0].id]);
    server.stop().await;
}

#[tokio::test]
async fn a_measurement_must_be_of_the_trial_that_it_names() {
    let server = Server::start().await;
    let (job, other) = (server.submitted("demo").await, server.submitted("other").await);
    job.claimed().await;
    let mut of_another_shard = job.measurement(&other.rows[0]);
    of_another_shard.attempt = job.attempt;
    let mut of_another_backend = job.measurement(&job.rows[0]);
    of_another_backend.backend = "vllm".to_owned();
    for wrong in [of_another_shard, of_another_backend] {
        let path = format!("/agent/attempts/{}/trials/{}/measurement", job.attempt, wrong.trial);
        let response = server.bare(Method::PUT, &path).bearer_auth(&job.token).json(&wrong).send().await.unwrap();
        assert_eq!(problem(response, StatusCode::UNPROCESSABLE_ENTITY).await.code, "foreign_measurement");
    }
    let right = job.measurement(&job.rows[0]);
    let path = format!("/agent/attempts/{}/trials/{}/measurement", job.attempt, job.rows[1].id);
    let response = server.bare(Method::PUT, &path).bearer_auth(&job.token).json(&right).send().await.unwrap();
    assert_eq!(problem(response, StatusCode::UNPROCESSABLE_ENTITY).await.code, "invalid_body");
    assert!(server.store.measurements(job.uid).await.unwrap().is_empty());
    server.stop().await;
}

#[tokio::test]
async fn a_failed_trial_is_shown_with_the_end_of_its_log() {
    let server = Server::start().await;
    let job = server.submitted("demo").await;
    job.claimed().await;
    let mut failed = job.measurement(&job.rows[0]);
    failed.outcome = Outcome::Failed {
        reason: "ServiceStartFailed".to_owned(),
        message: "it did not come up within 5m".to_owned(),
        log_tail: "ImportError: no module".to_owned(),
    };
    job.hand_in(&failed).await.unwrap();
    let client = server.client(&server.admin);
    let trial = client.trials("demo").await.unwrap().items.remove(0);
    assert_eq!((trial.phase, trial.reason.as_deref()), (TrialPhase::Failed, Some("ServiceStartFailed")));
    assert_eq!(trial.log_tail.as_deref(), Some("ImportError: no module"));
    let events = client.events("demo").await.unwrap().items;
    assert!(events.iter().any(|event| event.reason == "TrialFailed" && event.message.contains("did not come up")), "{events:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_cancel_reaches_the_agent_with_its_next_records() {
    let server = Server::start().await;
    let job = server.submitted("demo").await;
    job.claimed().await;
    assert_eq!(job.agent.post_records(job.attempt, &heartbeat(0)).await.unwrap().directive, Directive::Continue);
    server.client(&server.admin).set_desired("demo", Desired::Cancelled).await.unwrap();
    assert_eq!(job.agent.post_records(job.attempt, &heartbeat(0)).await.unwrap().directive, Directive::Cancel);
    server.stop().await;
}

#[tokio::test]
async fn records_that_come_twice_are_kept_once() {
    let server = Server::start().await;
    let job = server.submitted("demo").await;
    job.claimed().await;
    let line = |seq: u64| Record {
        seq,
        at: now(),
        body: RecordBody::Log { stream: "service".to_owned(), trial: None, backend: None, line: format!("line {seq}") },
    };
    for batch in [vec![line(1), line(2)], vec![line(2), line(3)], vec![line(1)]] {
        job.agent.post_records(job.attempt, &RecordBatch { epoch: 0, records: batch }).await.unwrap();
    }
    let mut logs = server.client(&server.admin).logs("demo", None, false).await.unwrap();
    let mut lines = Vec::new();
    while let Some(line) = logs.next().await.unwrap() {
        lines.push(line.line);
    }
    assert_eq!(lines, ["line 1", "line 2", "line 3"]);
    server.stop().await;
}
