//! Who may come in where.

use em_api::agent::RecordBatch;
use em_controlplane::store::access::Role;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::server::{Server, experiment, problem};

/// Every address that is not open, with a method that it takes.
fn guarded(attempt: &str, trial: &str) -> Vec<(Method, String)> {
    let reads = [
        "/experiments",
        "/experiments?watch=true",
        "/experiments/demo",
        "/experiments/demo/trials",
        "/experiments/demo/jobs",
        "/experiments/demo/events",
        "/experiments/demo/script",
        "/experiments/demo/logs",
        "/experiments/demo/logs?follow=true",
        "/experiments/demo/results",
        "/experiments/demo/report.html",
        "/experiments/demo/report.zip",
        "/experiments/demo/plots/throughput_comparison.png",
        "/experiments/demo/nothing",
        "/experiments/unknown",
        "/cluster",
        "/metrics",
        "/prometheus/targets",
    ];
    let mut routes: Vec<(Method, String)> = reads.iter().map(|path| (Method::GET, (*path).to_owned())).collect();
    routes.extend([
        (Method::GET, format!("/prometheus/agents/{attempt}")),
        (Method::POST, "/experiments".to_owned()),
        (Method::POST, "/experiments?dryRun=true".to_owned()),
        (Method::POST, "/import".to_owned()),
        (Method::PATCH, "/experiments/demo".to_owned()),
        (Method::DELETE, "/experiments/demo".to_owned()),
        (Method::POST, "/sessions/links".to_owned()),
        (Method::POST, "/slurm/hint".to_owned()),
        (Method::POST, format!("/agent/attempts/{attempt}/claim")),
        (Method::POST, format!("/agent/attempts/{attempt}/records")),
        (Method::PUT, format!("/agent/attempts/{attempt}/trials/{trial}/measurement")),
    ]);
    routes
}

#[tokio::test]
async fn nothing_is_told_without_a_token() {
    let server = Server::start().await;
    let job = server.submitted("demo").await;
    let expired = server.client("em_unused");
    assert!(expired.experiment("demo").await.is_err());
    for (method, path) in guarded(&job.attempt.to_string(), &job.rows[0].id.to_string()) {
        let without = || server.bare(method.clone(), &path);
        let wrong = [
            without(),
            without().bearer_auth("em_0000"),
            without().bearer_auth(""),
            without().basic_auth("admin", Some(&server.admin)),
            without().header("authorization", &server.admin),
            without().header("cookie", format!("em_session={}", server.admin)),
        ];
        for request in wrong {
            let response = request.send().await.unwrap();
            assert_eq!(
                response.headers().get("www-authenticate").map(|value| value.to_str().unwrap()),
                Some("Bearer"),
                "{method} {path}"
            );
            let refused = problem(response, StatusCode::UNAUTHORIZED).await;
            assert!(!refused.detail.contains("demo"), "{method} {path}: {}", refused.detail);
        }
    }
    // The token of the server opens those of people; the list above is not a list of typos.
    assert_eq!(server.get("/experiments/demo/jobs").await.status(), StatusCode::OK);
    server.stop().await;
}

#[tokio::test]
async fn probes_and_the_empty_page_are_open_and_silent() {
    let server = Server::start().await;
    server.post(experiment("demo")).await;
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/ui/", 200), ("/", 302)] {
        let response = server.bare(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert!(!response.text().await.unwrap().contains("demo"), "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_scraper_scrapes_and_does_nothing_else() {
    let server = Server::start().await;
    let job = server.submitted("demo").await;
    for (method, path) in guarded(&job.attempt.to_string(), &job.rows[0].id.to_string()) {
        let response = server.bare(method.clone(), &path).bearer_auth(&server.scraper).send().await.unwrap();
        let allowed = path.starts_with("/metrics") || path.starts_with("/prometheus");
        let expected = match () {
            () if allowed => StatusCode::OK,
            () if path.starts_with("/agent") => StatusCode::UNAUTHORIZED,
            () => StatusCode::FORBIDDEN,
        };
        assert_eq!(response.status(), expected, "{method} {path}");
    }
    let sign_in = server.bare(Method::POST, "/sessions").json(&json!({"token": server.scraper})).send().await.unwrap();
    problem(sign_in, StatusCode::UNAUTHORIZED).await;
    server.stop().await;
}

#[tokio::test]
async fn a_viewer_reads_and_a_submitter_writes() {
    let server = Server::start().await;
    server.post(experiment("demo")).await;
    let (viewer, submitter) = (server.token(Role::Viewer).await, server.token(Role::Submitter).await);
    let send =
        |token: &str, method: Method, path: &str| server.bare(method, path).bearer_auth(token).json(&experiment("two")).send();
    assert_eq!(send(&viewer, Method::GET, "/experiments/demo").await.unwrap().status(), StatusCode::OK);
    for (method, path) in
        [(Method::POST, "/experiments"), (Method::PATCH, "/experiments/demo"), (Method::DELETE, "/experiments/demo")]
    {
        problem(send(&viewer, method, path).await.unwrap(), StatusCode::FORBIDDEN).await;
    }
    problem(send(&viewer, Method::GET, "/metrics").await.unwrap(), StatusCode::FORBIDDEN).await;
    assert_eq!(send(&submitter, Method::POST, "/experiments").await.unwrap().status(), StatusCode::CREATED);
    server.stop().await;
}

#[tokio::test]
async fn a_hook_may_say_look_now_and_nothing_else() {
    let server = Server::start().await;
    let job = server.submitted("demo").await;
    let hook = server.token(Role::Hint).await;
    for (method, path) in guarded(&job.attempt.to_string(), &job.rows[0].id.to_string()) {
        let response = server.bare(method.clone(), &path).bearer_auth(&hook).send().await.unwrap();
        let expected = match () {
            () if path == "/slurm/hint" => StatusCode::ACCEPTED,
            () if path.starts_with("/agent") => StatusCode::UNAUTHORIZED,
            () => StatusCode::FORBIDDEN,
        };
        assert_eq!(response.status(), expected, "{method} {path}");
    }
    let submitter = server.token(Role::Submitter).await;
    let theirs = server.bare(Method::POST, "/slurm/hint").bearer_auth(&submitter).send().await.unwrap();
    problem(theirs, StatusCode::FORBIDDEN).await;
    let sign_in = server.bare(Method::POST, "/sessions").json(&json!({"token": hook})).send().await.unwrap();
    problem(sign_in, StatusCode::UNAUTHORIZED).await;
    server.stop().await;
}

#[tokio::test]
async fn an_attempt_is_opened_by_its_own_token_alone() {
    let server = Server::start().await;
    let (one, other) = (server.submitted("one").await, server.submitted("other").await);
    let heartbeat = RecordBatch { epoch: 0, records: Vec::new() };
    let measurement = one.measurement(&one.rows[0]);
    for token in [&server.admin, &other.token, &server.scraper] {
        let base = format!("/agent/attempts/{}", one.attempt);
        let calls = [
            server.bare(Method::POST, &format!("{base}/claim")).json(&one.claim_request(0, "x")),
            server.bare(Method::POST, &format!("{base}/records")).json(&heartbeat),
            server.bare(Method::PUT, &format!("{base}/trials/{}/measurement", one.rows[0].id)).json(&measurement),
        ];
        for call in calls {
            problem(call.bearer_auth(token).send().await.unwrap(), StatusCode::UNAUTHORIZED).await;
        }
    }
    assert!(server.store.attempt(one.attempt).await.unwrap().claim.is_none(), "nobody got the claim");
    // And an agent's token opens nothing else.
    for path in ["/experiments", "/experiments/one", "/metrics", "/prometheus/targets"] {
        let response = server.bare(Method::GET, path).bearer_auth(&one.token).send().await.unwrap();
        problem(response, StatusCode::UNAUTHORIZED).await;
    }
    let sign_in = server.bare(Method::POST, "/sessions").json(&json!({"token": one.token})).send().await.unwrap();
    problem(sign_in, StatusCode::UNAUTHORIZED).await;
    assert_eq!(one.claimed().await.epoch, 0);
    server.stop().await;
}
