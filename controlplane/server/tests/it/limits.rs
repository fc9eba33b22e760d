//! Limits on active experiments, and priority among those that wait.

use std::path::Path;

use em_api::spec::Desired;
use em_api::status::{ConditionStatus, ConditionType, Phase};
use em_controlplane::config::Settings;
use em_controlplane::reconcile::Limits;
use serde_json::json;

use crate::server::{Server, body, settings};

fn one_for_each_team(folder: &Path) -> Settings {
    let limits = Limits { experiments: Some(2), by_label: [("team".to_owned(), 1)].into() };
    Settings { limits, ..settings(folder) }
}

fn create(server: &Server, name: &str, team: &str, priority: i64) {
    let mut posted = body(name);
    posted["metadata"]["labels"] = json!({"team": team});
    posted["spec"]["priority"] = priority.into();
    server.create(&posted);
}

fn waits(server: &Server, name: &str, words: &str) {
    let waits = server.until(name, words, |one| {
        let mut conditions = one.status.conditions.iter();
        conditions
            .any(|one| one.kind == ConditionType::Throttled && one.status == ConditionStatus::True && one.message.contains(words))
    });
    assert_eq!(waits.status.phase, Phase::Pending);
}

#[test]
fn beyond_a_limit_they_wait_and_the_highest_priority_comes_first() {
    let server = Server::start_with(one_for_each_team, |_| {});
    create(&server, "first", "search", 0);
    server.until_phase("first", Phase::Queued);
    create(&server, "older", "search", 0);
    waits(&server, "older", "experiments with team=search are active (--max-active team=1): place 1");
    create(&server, "urgent", "search", 10);
    waits(&server, "urgent", "place 1");
    waits(&server, "older", "place 2");
    create(&server, "other-team", "chat", -5);
    server.until_phase("other-team", Phase::Queued);
    create(&server, "third-team", "maps", 0);
    waits(&server, "third-team", "2 of 2 experiments are active (--max-active-experiments)");
    assert_eq!(server.slurm.live(), 2);
    server.calls.block_on(server.client.set_desired("first", Desired::Suspended)).unwrap();
    server.until_phase("urgent", Phase::Queued);
    server.until_phase("first", Phase::Suspended);
    assert_eq!(server.get("older").status.phase, Phase::Pending);
    // A wish of its user moves it up.
    let answer = server.ask(reqwest::Method::PATCH, "/experiments/older", Some(json!({"spec": {"priority": 20}})));
    assert!(answer.status().is_success());
    server.calls.block_on(server.client.set_desired("first", Desired::Run)).unwrap();
    waits(&server, "first", "place 2");
    server.calls.block_on(server.client.set_desired("urgent", Desired::Cancelled)).unwrap();
    server.until_phase("older", Phase::Queued);
    assert_eq!(server.slurm.live(), 2);
    waits(&server, "first", "place 1");
}
