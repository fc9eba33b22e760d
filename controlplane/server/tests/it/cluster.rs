//! What users and hooks get of the cluster, with the reconciler's side at work.

use em_controlplane::config::Settings;
use em_slurm::{ClusterView, Gres, JobState, Limits, Node, Partition};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::server::{Server, body, settings};

fn cluster() -> ClusterView {
    let gres = |used| vec![Gres { kind: "gpu".to_owned(), model: Some("l40s".to_owned()), count: 2, used }];
    let node = |name: &str, state: &str, cpus_allocated, used| Node {
        name: name.to_owned(),
        state: state.to_owned(),
        cpus: 8,
        cpus_allocated,
        memory_mb: 1_000,
        gres: gres(used),
        ..Node::default()
    };
    let partition = |name: &str, default, nodes: &[&str]| Partition {
        name: name.to_owned(),
        default,
        state: "UP".to_owned(),
        max_time_minutes: Some(60),
        nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
        ..Partition::default()
    };
    ClusterView {
        name: Some("dev".to_owned()),
        version: Some("22.05.8".to_owned()),
        nodes: vec![node("node1", "MIXED", 4, 1), node("node2", "IDLE", 0, 0), node("node3", "IDLE+DRAIN", 0, 0)],
        partitions: vec![partition("gpu", true, &["node1", "node2", "node3"])],
        limits: Limits { min_job_age_seconds: Some(300), ..Limits::default() },
    }
}

fn ask(server: &Server, method: Method, path: &str, token: &str, body: &str) -> Response {
    let request = reqwest::Client::new().request(method, format!("{}{path}", server.url)).bearer_auth(token);
    server.calls.block_on(request.body(body.to_owned()).send()).unwrap()
}

#[test]
fn the_cluster_is_shown_with_what_is_free_and_how_old_that_is() {
    let server = Server::start_with(settings, |slurm| slurm.has(cluster()));
    let shown = server.calls.block_on(server.client.cluster()).unwrap();
    assert_eq!((shown.name.as_deref(), shown.problem.as_deref(), shown.limits.min_job_age_seconds), (Some("dev"), None, Some(300)));
    assert!(shown.age_seconds < 60);
    let gpu = &shown.partitions[0];
    assert_eq!((gpu.nodes_total, gpu.nodes_free, gpu.cpus_total, gpu.cpus_free), (3, 1, 24, 12));
    let wire: Value = serde_json::to_value(&gpu.gres).unwrap();
    assert_eq!(wire, json!([{"kind": "gpu", "type": "l40s", "total": 6, "free": 3}]), "a drained node has nothing free");
    assert_eq!((shown.nodes[2].usable, shown.nodes[2].partitions.as_slice()), (false, &["gpu".to_owned()][..]));

    // The next request is answered from memory, and reads are counted.
    server.slurm.down(true);
    assert_eq!(server.calls.block_on(server.client.cluster()).unwrap().observed_at, shown.observed_at);
    let metrics = server.calls.block_on(ask(&server, Method::GET, "/metrics", &server.token("scraper-token"), "").text()).unwrap();
    assert!(metrics.contains("em_slurm_rpc_total{outcome=\"ok\",verb=\"cluster\"} 4\n"), "{metrics}");
}

#[test]
fn wishes_that_the_cluster_cannot_fulfil_are_told_and_not_refused() {
    let server = Server::start_with(settings, |slurm| slurm.has(cluster()));
    let mut wish = body("wish");
    wish["spec"]["slurm"] = json!({"partition": "gpus", "time": "1h"});
    for dry_run in [true, false] {
        let post = server.client.create_experiment(em_api::client::experiments::Body::Json(wish.clone()), dry_run);
        let warnings = server.calls.block_on(post).unwrap().answer.warnings;
        let told = "slurm.partition: there is no partition `gpus`; did you mean `gpu`? there are gpu";
        assert!(warnings.iter().any(|warning| warning == told), "{warnings:?}");
    }
}

#[test]
fn a_cluster_that_was_never_seen_is_a_problem_with_a_time_to_come_back() {
    let server = Server::start_with(settings, |slurm| slurm.down(true));
    let answer = ask(&server, Method::GET, "/cluster", &server.token("admin-token"), "");
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let seconds: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    let problem: Value = server.calls.block_on(answer.json()).unwrap();
    assert_eq!(problem["code"], "cluster_unknown");
    assert!(problem["detail"].as_str().unwrap().contains("connect failure"), "{problem}");
}

#[test]
fn a_hint_shows_the_end_of_a_job_long_before_the_poll_would() {
    let server =
        Server::start_with(|folder| Settings { poll_interval: MINUTES, fast_poll_interval: MINUTES, ..settings(folder) }, |_| {});
    server.create(&body("hinted"));
    server.until_phase("hinted", em_api::status::Phase::Queued);
    server.slurm.set("1", JobState::Failed);
    for hint in ["", "{\"job_id\": 1}", "no json", &"x".repeat(4_000)] {
        assert_eq!(ask(&server, Method::POST, "/slurm/hint", &server.token("hint-token"), hint).status(), StatusCode::ACCEPTED);
    }
    server.until("hinted", "its end is seen", |experiment| {
        experiment.status.jobs.iter().any(|job| job.id.as_deref() == Some("1") && job.state == "FAILED")
    });
    let large = ask(&server, Method::POST, "/slurm/hint", &server.token("hint-token"), &"x".repeat(5_000));
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

const MINUTES: std::time::Duration = std::time::Duration::from_secs(600);
