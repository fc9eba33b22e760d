//! `PATCH` and `DELETE`, and the versions that guard them.

use em_api::HumanDuration;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::server::{Server, experiment, problem};

async fn patched(server: &Server, body: Value) -> reqwest::Response {
    server.ask(Method::PATCH, "/experiments/demo").json(&body).send().await.unwrap()
}

#[tokio::test]
async fn what_may_change_changes() {
    let server = Server::start().await;
    server.post(experiment("demo")).await;
    let body = json!({
        "metadata": {"labels": {"team": null, "stage": "nightly"}, "annotations": {"why": "a release"}},
        "spec": {"retries": 5, "priority": -3, "ttl": "7d", "logsTtl": "2d"},
    });
    let response = patched(&server, body).await;
    assert_eq!(response.status(), StatusCode::OK);
    let read: Value = server.get("/experiments/demo").await.json().await.unwrap();
    assert_eq!(read["metadata"]["labels"], json!({"stage": "nightly"}));
    assert_eq!(read["metadata"]["annotations"], json!({"why": "a release"}));
    let spec = &read["spec"];
    assert_eq!(
        [&spec["retries"], &spec["priority"], &spec["ttl"], &spec["logsTtl"]],
        [&json!(5), &json!(-3), &json!("7d"), &json!("2d")]
    );
    assert_eq!(read["metadata"]["generation"], 2);

    // `null` takes the limit away; what is not named stays.
    patched(&server, json!({"spec": {"ttl": null}})).await;
    let spec = server.store.stored("demo").await.unwrap().spec;
    assert_eq!((spec.ttl, spec.logs_ttl, spec.retries), (None, HumanDuration::from_secs(2 * 86_400), 5));

    // The whole experiment as it was read is a patch that changes nothing.
    let read: Value = server.get("/experiments/demo").await.json().await.unwrap();
    let same: Value = patched(&server, read.clone()).await.json().await.unwrap();
    assert_eq!(same["metadata"]["resourceVersion"], read["metadata"]["resourceVersion"]);
    server.stop().await;
}

#[tokio::test]
async fn what_is_measured_is_fixed() {
    let server = Server::start().await;
    server.post(experiment("demo")).await;
    let response =
        patched(&server, json!({"spec": {"retries": 9, "load": {"duration": "1m"}, "matrix": {"batchSizes": [64]}}})).await;
    let refused = problem(response, StatusCode::CONFLICT).await;
    assert_eq!(refused.code, "spec_immutable");
    let mut paths: Vec<&str> = refused.errors.iter().map(|error| error.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["spec.load.duration", "spec.matrix.batchSizes"]);
    let typo = problem(patched(&server, json!({"spec": {"prioritty": 1}})).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_eq!((typo.code.as_str(), typo.errors[0].path.as_str()), ("invalid_patch", "spec.prioritty"));
    assert!(typo.errors[0].message.contains("did you mean `priority`?"), "{:?}", typo.errors);
    assert_eq!(server.store.stored("demo").await.unwrap().spec.retries, 2, "nothing of the patch is applied");
    server.stop().await;
}

#[tokio::test]
async fn wrong_values_are_told_with_their_paths() {
    let server = Server::start().await;
    server.post(experiment("demo")).await;
    let body = json!({
        "metadata": {"labels": {"team": 7}, "name": "other"},
        "spec": {"desired": "run", "retries": -1, "ttl": "1s", "logsTtl": null},
        "spce": {},
    });
    let refused = problem(patched(&server, body).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    let mut paths: Vec<&str> = refused.errors.iter().map(|error| error.path.as_str()).collect();
    paths.sort_unstable();
    let expected = ["metadata.labels.team", "metadata.name", "spce", "spec.desired", "spec.logsTtl", "spec.retries", "spec.ttl"];
    assert_eq!(paths, expected);
    server.stop().await;
}

#[tokio::test]
async fn a_write_with_an_old_etag_is_refused() {
    let server = Server::start().await;
    server.post(experiment("demo")).await;
    let etag = server.get("/experiments/demo").await.headers()["etag"].to_str().unwrap().to_owned();
    let patch = |etag: &str, retries: u32| {
        server.ask(Method::PATCH, "/experiments/demo").header("if-match", etag).json(&json!({"spec": {"retries": retries}})).send()
    };
    let first = patch(&etag, 3).await.unwrap();
    assert_eq!(first.status(), StatusCode::OK);
    let newer = first.headers()["etag"].to_str().unwrap().to_owned();
    assert_ne!(newer, etag);
    assert_eq!(problem(patch(&etag, 4).await.unwrap(), StatusCode::PRECONDITION_FAILED).await.code, "precondition_failed");
    assert_eq!(server.store.stored("demo").await.unwrap().spec.retries, 3);
    problem(patch("yesterday", 4).await.unwrap(), StatusCode::BAD_REQUEST).await;
    let delete = |etag: &str| server.ask(Method::DELETE, "/experiments/demo").header("if-match", etag).send();
    problem(delete(&etag).await.unwrap(), StatusCode::PRECONDITION_FAILED).await;
    assert_eq!(delete(&newer).await.unwrap().status(), StatusCode::ACCEPTED);
    server.stop().await;
}

#[tokio::test]
async fn a_deleted_experiment_is_there_until_its_jobs_are_gone() {
    let server = Server::start().await;
    server.post(experiment("demo")).await;
    let delete = || server.ask(Method::DELETE, "/experiments/demo").send();
    assert_eq!(delete().await.unwrap().status(), StatusCode::ACCEPTED);
    assert_eq!(delete().await.unwrap().status(), StatusCode::ACCEPTED, "safe to repeat");
    let read: Value = server.get("/experiments/demo").await.json().await.unwrap();
    assert!(read["metadata"]["deletedAt"].is_string());
    for response in [
        patched(&server, json!({"spec": {"retries": 1}})).await,
        server.ask(Method::POST, "/experiments").json(&experiment("demo")).send().await.unwrap(),
    ] {
        assert_eq!(problem(response, StatusCode::CONFLICT).await.code, "being_deleted");
    }
    server.stop().await;
}
