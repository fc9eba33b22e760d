//! What Prometheus gets.

use em_api::agent::{Record, RecordBatch, RecordBody};
use em_controlplane::store::attempts::{AttemptState, End, EndKind};
use em_controlplane::store::now;
use reqwest::Method;
use serde_json::{Value, json};

use super::server::Server;

#[tokio::test]
async fn a_running_agent_is_scraped_through_us() {
    let server = Server::start().await;
    let job = server.submitted("demo").await;
    let scrape = |path: &str| server.bare(Method::GET, path).bearer_auth(&server.scraper).send();
    let targets: Value = scrape("/prometheus/targets").await.unwrap().json().await.unwrap();
    assert_eq!(targets, json!([]), "no agent speaks yet");

    job.claimed().await;
    let path = format!("/prometheus/agents/{}", job.attempt);
    let targets: Value = scrape("/prometheus/targets").await.unwrap().json().await.unwrap();
    let host = server.url.strip_prefix("http://").unwrap();
    let labels = json!({"__metrics_path__": path, "experiment": "demo", "instance": "node1"});
    assert_eq!(targets, json!([{"targets": [host], "labels": labels}]));
    assert_eq!(scrape(&path).await.unwrap().text().await.unwrap(), "", "claimed, but nothing pushed");

    for (seq, text) in [(1, "em_load_requests_total 1"), (3, "em_load_requests_total 3"), (2, "em_load_requests_total 2")] {
        let body = RecordBody::Exposition { text: text.to_owned() };
        let batch = RecordBatch { epoch: 0, records: vec![Record { seq, at: now(), body }] };
        job.agent.post_records(job.attempt, &batch).await.unwrap();
    }
    let response = scrape(&path).await.unwrap();
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let text = response.text().await.unwrap();
    assert!(text.starts_with("em_load_requests_total 3\n") && text.contains("\nem_agent_lag_seconds "), "{text}");

    let attempt = server.store.attempt(job.attempt).await.unwrap();
    let end = End { kind: EndKind::Completed, reason: "Completed".to_owned(), message: String::new() };
    let state = AttemptState::Ended { at: now(), end, job: None, over: None };
    server.store.save_attempt(job.attempt, attempt.revision, &state, None).await.unwrap();
    let targets: Value = scrape("/prometheus/targets").await.unwrap().json().await.unwrap();
    assert_eq!(targets, json!([]), "its series end with the job");
    server.stop().await;
}

#[tokio::test]
async fn our_own_metrics_count_requests_by_route_not_by_name() {
    let server = Server::start().await;
    for name in ["one", "two"] {
        server.get(&format!("/experiments/{name}")).await;
    }
    let text = server.bare(Method::GET, "/metrics").bearer_auth(&server.scraper).send().await.unwrap().text().await.unwrap();
    let line =
        text.lines().find(|line| line.starts_with("em_http_requests_total") && line.contains("/experiments/{name}\"")).unwrap();
    assert!(line.contains("404") && line.ends_with(" 2"), "{line}");
    assert!(!text.contains("/experiments/one"), "a series for each name would never end");
    server.stop().await;
}
