//! `Idempotency-Key` on `POST /experiments`.

use em_controlplane::store::access::{Principal, Role, new_secret};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::server::{Server, experiment, problem};

/// A body that makes a new experiment each time that it is posted.
fn nightly() -> Value {
    let mut body = experiment("unused");
    body["metadata"] = json!({"generateName": "nightly-"});
    body
}

async fn post(server: &Server, key: &str, body: &Value) -> Response {
    server.ask(Method::POST, "/experiments").header("idempotency-key", key).json(body).send().await.unwrap()
}

async fn told(response: Response) -> (StatusCode, Option<String>, Option<String>, Value) {
    let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (status, location, etag) = (response.status(), header("location"), header("etag"));
    (status, location, etag, response.json().await.unwrap())
}

#[tokio::test]
async fn a_repeat_gets_the_same_answer_and_makes_nothing_new() {
    let server = Server::start().await;
    let first = told(post(&server, "one", &nightly()).await).await;
    assert_eq!(first.0, StatusCode::CREATED);
    // Whatever became of it meanwhile.
    let name = first.3["metadata"]["name"].as_str().unwrap();
    let patch = json!({"metadata": {"labels": {"round": "1"}}});
    server.ask(Method::PATCH, &format!("/experiments/{name}")).json(&patch).send().await.unwrap();
    assert_eq!(told(post(&server, "one", &nightly()).await).await, first);
    assert_eq!(server.rows("experiments").await, 1);
    let other = told(post(&server, "two", &nightly()).await).await;
    assert_eq!((other.0, server.rows("experiments").await), (StatusCode::CREATED, 2), "another key is another wish");
    server.stop().await;
}

#[tokio::test]
async fn one_that_was_there_is_answered_alike_again() {
    let server = Server::start().await;
    server.post(experiment("demo")).await;
    let first = told(post(&server, "one", &experiment("demo")).await).await;
    assert_eq!((first.0, &first.1), (StatusCode::OK, &None));
    assert_eq!(told(post(&server, "one", &experiment("demo")).await).await, first);
    server.stop().await;
}

#[tokio::test]
async fn a_key_belongs_to_one_body_and_one_owner() {
    let server = Server::start().await;
    post(&server, "one", &nightly()).await;
    let mut other = nightly();
    other["spec"]["retries"] = json!(7);
    let refused = problem(post(&server, "one", &other).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_eq!(refused.code, "idempotency_key_reused");

    let secret = new_secret("em");
    server.store.add_token(&secret, &Principal { owner: "bob".to_owned(), role: Role::Submitter }).await.unwrap();
    let bob = server.bare(Method::POST, "/experiments").bearer_auth(&secret).header("idempotency-key", "one").json(&other);
    assert_eq!(bob.send().await.unwrap().status(), StatusCode::CREATED);
    assert_eq!(server.rows("experiments").await, 2);
    server.stop().await;
}

#[tokio::test]
async fn refusals_and_dry_runs_are_not_kept() {
    let server = Server::start().await;
    let mut wrong = nightly();
    wrong["spec"]["load"]["duraton"] = json!("2m");
    problem(post(&server, "one", &wrong).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    let dry = server.ask(Method::POST, "/experiments?dryRun=true").header("idempotency-key", "one").json(&nightly());
    assert_eq!(dry.send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(server.rows("idempotency_keys").await, 0);
    assert_eq!(post(&server, "one", &nightly()).await.status(), StatusCode::CREATED, "the mended body under the same key");
    let dry = server.ask(Method::POST, "/experiments?dryRun=true").header("idempotency-key", "one").json(&nightly());
    assert!(dry.send().await.unwrap().json::<Value>().await.unwrap()["script"].is_string(), "a dry run stays a dry run");
    server.stop().await;
}

#[tokio::test]
async fn of_sixteen_at_once_one_creates_and_the_others_wait_or_get_its_answer() {
    let server = Server::start().await;
    let body = nightly();
    let posts = futures_util::future::join_all((0..16).map(|_| post(&server, "one", &body))).await;
    let mut names = Vec::new();
    for response in posts {
        match response.status() {
            StatusCode::CREATED => names.push(told(response).await.3["metadata"]["name"].clone()),
            status => assert_eq!(problem(response, status).await.code, "idempotency_in_flight"),
        }
    }
    assert!(!names.is_empty() && names.iter().all(|name| *name == names[0]), "{names:?}");
    assert_eq!(server.rows("experiments").await, 1);
    assert_eq!(post(&server, "one", &body).await.status(), StatusCode::CREATED, "none stays in flight");
    server.stop().await;
}
