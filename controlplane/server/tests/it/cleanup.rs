//! What a server takes away by itself: ended experiments after `ttl`, logs after `logsTtl`, folders of what was deleted. Time is
//! shortened by moving the end into the past, in the database.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use em_api::experiment::Experiment;
use em_api::status::{ConditionType, Phase};
use em_slurm::JobState;
use serde_json::json;
use sqlx::{Connection as _, Executor as _};

use crate::agent::Agent;
use crate::server::{Server, body};

/// Runs an experiment to its end; its folder.
fn run(server: &Server, name: &str, change: impl FnOnce(&mut serde_json::Value)) -> (Experiment, PathBuf) {
    let mut posted = body(name);
    change(&mut posted);
    server.create(&posted);
    let number = server.slurm.submissions().len();
    server.until_phase(name, Phase::Queued);
    let number = server.slurm.submissions().len().max(number) - 1;
    let agent = Agent::of(server, number);
    let id = (number + 1).to_string();
    agent.claim(&id, "n", 0).unwrap();
    agent.records((0..50).map(|line| Agent::log(&format!("line {line}"))).collect()).unwrap();
    agent.hand_in(&agent.trials());
    server.slurm.set(&id, JobState::Completed);
    let done = server.until_phase(name, Phase::Succeeded);
    let folder = server.experiment_dir(&done);
    assert!(folder.is_dir());
    (done, folder)
}

/// As if the experiment had ended `days` ago.
fn age(server: &Server, name: &str, days: i64) {
    let past = em_api::Timestamp::now().checked_sub(jiff::SignedDuration::from_hours(24 * days)).unwrap();
    let url = format!("sqlite://{}", server.state_dir().join("em.db").display());
    let mut other = server.calls.block_on(sqlx::SqliteConnection::connect(&url)).unwrap();
    let change = format!(
        "UPDATE experiments SET created_at = '{past:.6}', finished_at = '{past:.6}', cleanup_at = '{past:.6}' WHERE name = '{name}'"
    );
    server.calls.block_on(other.execute(sqlx::AssertSqlSafe(change))).unwrap();
}

fn until(what: &str, wished: impl Fn() -> bool) {
    let begin = Instant::now();
    while !wished() {
        assert!(begin.elapsed().as_secs() < 30, "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn gone(server: &Server, name: &str) -> bool {
    server.calls.block_on(server.client.experiment(name)).is_err()
}

fn logs(server: &Server, name: &str) -> String {
    let answer = server.ask(reqwest::Method::GET, &format!("/experiments/{name}/logs"), None);
    server.calls.block_on(answer.text()).unwrap()
}

#[test]
fn logs_and_folders_go_after_logs_ttl_and_results_stay() {
    let server = Server::start();
    let (_, folder) = run(&server, "old", |_| {});
    let (_, young) = run(&server, "young", |_| {});
    // A link in a job directory leads nowhere.
    let precious = tempfile::tempdir().unwrap();
    std::fs::write(precious.path().join("file"), "kept").unwrap();
    std::os::unix::fs::symlink(precious.path(), folder.join("link")).unwrap();
    let results = server.calls.block_on(server.client.results("old")).unwrap();
    assert!(logs(&server, "old").contains("line 49"));
    age(&server, "old", 31);
    let has = |one: &Experiment| one.status.conditions.iter().any(|one| one.kind == ConditionType::LogsRemoved);
    let shown = server.until("old", "its logs are removed", has);
    assert_eq!(logs(&server, "old"), "");
    assert!(!folder.exists() && precious.path().join("file").exists());
    assert_eq!((shown.status.phase, shown.status.trials.succeeded), (Phase::Succeeded, 4));
    let after = server.calls.block_on(server.client.results("old")).unwrap();
    assert_eq!(serde_json::to_value(&after.cells).unwrap(), serde_json::to_value(&results.cells).unwrap());
    assert!(!server.calls.block_on(server.client.report_file("old", "html")).unwrap().is_empty());
    assert!(server.events("old").contains(&"LogsRemoved".to_owned()));
    assert!(young.exists() && !has(&server.get("young")) && logs(&server, "young").contains("line 49"));
    assert_eq!(server.metric("em_cleanup_total{outcome=\"done\",what=\"logs\"}"), 1.0);
}

#[test]
fn an_ended_experiment_goes_after_its_ttl_and_a_pinned_one_stays_until_it_is_let_go() {
    let server = Server::start();
    let ttl = |posted: &mut serde_json::Value| posted["spec"]["ttl"] = "1d".into();
    let (_, folder) = run(&server, "goes", ttl);
    let (_, pinned) = run(&server, "pinned", |posted| {
        ttl(posted);
        posted["metadata"]["labels"] = json!({"em/pinned": "true"});
    });
    age(&server, "pinned", 60);
    age(&server, "goes", 2);
    until("it is gone with its folder", || gone(&server, "goes") && !folder.exists());
    assert!(pinned.exists() && logs(&server, "pinned").contains("line 49"), "neither ttl touches it");
    let answer =
        server.ask(reqwest::Method::PATCH, "/experiments/pinned", Some(json!({"metadata": {"labels": {"em/pinned": null}}})));
    assert!(answer.status().is_success());
    until("it goes too", || gone(&server, "pinned") && !pinned.exists());
    assert_eq!(server.metric("em_cleanup_total{outcome=\"done\",what=\"experiment\"}"), 2.0);
}

#[test]
fn a_ttl_that_is_set_after_the_end_counts_from_the_end() {
    let server = Server::start();
    run(&server, "later", |_| {});
    age(&server, "later", 3);
    let answer = server.ask(reqwest::Method::PATCH, "/experiments/later", Some(json!({"spec": {"ttl": "2d"}})));
    assert!(answer.status().is_success());
    until("it is gone", || gone(&server, "later"));
}

#[test]
fn the_folder_of_a_deleted_experiment_is_removed_after_a_crash_too() {
    let mut server = Server::start();
    let (_, folder) = run(&server, "deleted", |_| {});
    let (blocked, out_of_the_way) = (folder.with_extension("aside"), folder.clone());
    // In its place: a link, which is not followed.
    std::fs::rename(&folder, &blocked).unwrap();
    std::os::unix::fs::symlink(&blocked, &out_of_the_way).unwrap();
    server.calls.block_on(server.client.delete_experiment("deleted")).unwrap();
    until("it is gone", || gone(&server, "deleted"));
    until("its folder was tried", || server.metric("em_cleanup_total{outcome=\"done\",what=\"folder\"}") >= 1.0);
    assert!(blocked.is_dir(), "a link is never followed");
    let (_, second) = run(&server, "second", |_| {});
    server.calls.block_on(server.client.delete_experiment("second")).unwrap();
    until("it is gone", || gone(&server, "second"));
    server.crash();
    server.restart();
    until("its folder is gone", || !second.exists());
}
