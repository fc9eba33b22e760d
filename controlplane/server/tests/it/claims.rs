//! The protocol of agents: claim, fencing, first body wins, tokens.

use em_api::agent::RecordBatch;
use em_api::client::Client;
use em_api::client::agent::AgentCallError;
use em_api::status::Phase;
use em_slurm::JobState;

use crate::agent::Agent;
use crate::server::{Server, body};

fn queued(name: &str) -> Server {
    let server = Server::start();
    server.create(&body(name));
    server.until_phase(name, Phase::Queued);
    server
}

#[test]
fn one_process_holds_the_claim_and_others_leave() {
    let server = queued("one");
    let agent = Agent::of(&server, 0);
    assert_eq!(agent.claim("1", "first", 0).unwrap().epoch, 0);
    assert_eq!(agent.claim("1", "first", 0).unwrap().epoch, 0, "the same nonce may ask again");
    assert!(matches!(agent.claim("1", "second", 0), Err(AgentCallError::AlreadyClaimed(_))));
    assert!(matches!(agent.claim("2", "second", 1), Err(AgentCallError::AlreadyClaimed(_))), "another job");
}

#[test]
fn a_requeue_makes_a_new_epoch_and_fences_the_older_one() {
    let server = queued("epochs");
    let old = Agent::of(&server, 0);
    old.claim("1", "first", 0).unwrap();
    old.hand_in(&old.trials()[..1]);
    let mut new = Agent::of(&server, 0);
    new.epoch = new.claim("1", "second", 1).unwrap().epoch;
    assert_eq!(new.epoch, 1);
    assert!(matches!(old.records(vec![Agent::log("late")]), Err(AgentCallError::Fenced(_))));
    assert!(matches!(old.put(&old.measured(&old.trials()[1], 1_000)), Err(AgentCallError::Fenced(_))));
    assert!(matches!(old.claim("1", "first", 0), Err(AgentCallError::AlreadyClaimed(_))));
    new.hand_in(&new.trials()[1..2]);
    let counts = server.get("epochs").status.trials;
    assert_eq!(counts.succeeded, 2, "what the old epoch handed in before is kept");
}

#[test]
fn the_first_measurement_wins_and_an_equal_one_is_fine() {
    let server = queued("first");
    let agent = Agent::of(&server, 0);
    let trial = agent.trials()[0].clone();
    let measured = agent.measured(&trial, 1_000);
    assert!(matches!(agent.put(&measured), Err(AgentCallError::Fenced(_))), "nobody has claimed");
    agent.claim("1", "n", 0).unwrap();
    agent.put(&measured).unwrap();
    agent.put(&measured).unwrap();
    assert!(matches!(agent.put(&agent.measured(&trial, 2_000)), Err(AgentCallError::Conflict(_))));
    let trials = server.calls.block_on(server.client.trials("first")).unwrap().items;
    let kept = trials.iter().find(|one| one.id == trial.2.id).unwrap();
    assert_eq!(kept.texts_per_second, Some(1_600.0));
}

#[test]
fn a_measurement_of_another_backend_or_trial_is_refused() {
    let server = queued("foreign");
    let agent = Agent::of(&server, 0);
    agent.claim("1", "n", 0).unwrap();
    let (mut trial, other) = (agent.trials()[0].clone(), agent.trials());
    trial.0 = other.iter().find(|one| one.0 != trial.0).unwrap().0.clone();
    match agent.put(&agent.measured(&trial, 1_000)) {
        Err(AgentCallError::Refused(error)) => assert_eq!(error.problem().unwrap().status, 422),
        other => panic!("refused, not {other:?}"),
    }
    assert_eq!(server.get("foreign").status.trials.succeeded, 0);
}

#[test]
fn a_token_opens_its_own_attempt_only() {
    let server = queued("tokens");
    let agent = Agent::of(&server, 0);
    for token in [None, Some("em_wrong".to_owned()), Some(server.token("admin-token"))] {
        let client = Client::new(&server.url, token).unwrap();
        let batch = RecordBatch { epoch: 0, records: Vec::new() };
        match server.calls.block_on(client.post_records(agent.plan.attempt, &batch)) {
            Err(AgentCallError::Refused(error)) => assert_eq!(error.problem().unwrap().status, 401),
            other => panic!("refused, not {other:?}"),
        }
    }
    let own = std::fs::read_to_string(agent.dir.join("token")).unwrap();
    let people = Client::new(&server.url, Some(own)).unwrap();
    let refused = server.calls.block_on(people.experiment("tokens")).unwrap_err();
    assert_eq!(refused.problem().unwrap().status, 401, "and nothing of the people's");
}

#[test]
fn after_its_end_an_attempt_is_not_claimed_but_still_delivers() {
    let server = queued("late");
    let agent = Agent::of(&server, 0);
    agent.claim("1", "n", 0).unwrap();
    agent.hand_in(&agent.trials()[..3]);
    server.slurm.set("1", JobState::Preempted);
    server.until("late", "the attempt has ended", |_| server.slurm.submissions().len() == 2);
    agent.hand_in(&agent.trials()[3..]);
    assert_eq!(server.get("late").status.trials.succeeded, 4, "the network was slow, the work is good");
    assert!(agent.claim("1", "other", 1).is_err());
}

#[test]
fn records_are_kept_once_and_stream_in_order() {
    let server = queued("logs");
    let agent = Agent::of(&server, 0);
    agent.claim("1", "n", 0).unwrap();
    agent.records(vec![Agent::log("one"), Agent::log("two")]).unwrap();
    let again = Agent::of(&server, 0);
    again.records(vec![Agent::log("one"), Agent::log("two"), Agent::log("three")]).unwrap();
    let lines = server.calls.block_on(async {
        let mut stream = server.client.logs("logs", None, false).await.unwrap();
        let mut lines = Vec::new();
        while let Some(line) = stream.next().await.unwrap() {
            lines.push(line);
        }
        lines
    });
    let texts: Vec<&str> = lines.iter().map(|line| line.line.as_str()).collect();
    assert_eq!(texts, ["one", "two", "three"]);
    assert!(lines.is_sorted_by(|a, b| a.seq < b.seq));
}
