//! `POST /experiments`.

use std::collections::HashSet;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::server::{Server, experiment, problem};

const YAML: &str = "
apiVersion: em/v1alpha1
kind: Experiment
metadata: {name: demo, labels: {team: search}}
spec:
  model: {id: sentence-transformers/all-MiniLM-L6-v2, dtype: float32}
  dataset: {source: wordnet, limit: 1000}
  backends:
    - {name: hf, type: huggingface, device: cpu}
    - {name: ort, type: ort, device: cpu}
  matrix: {batchSizes: [16, 32], concurrency: [2]}
  load: {duration: 10s, warmup: 2s, repetitions: 3, minRequests: 20}
  slurm: {partition: main, cpusPerTask: 2, time: 1h}
";

async fn names(server: &Server) -> Vec<String> {
    let list: Value = server.get("/experiments").await.json().await.unwrap();
    let name = |item: &Value| item["metadata"]["name"].as_str().unwrap().to_owned();
    list["items"].as_array().unwrap().iter().map(name).collect()
}

#[tokio::test]
async fn all_mistakes_are_told_at_once_and_nothing_is_stored() {
    let server = Server::start().await;
    let mut body = experiment("demo");
    body["spec"]["load"]["duraton"] = json!("2m");
    body["spec"]["backends"][1]["type"] = json!("orrt");
    body["spec"]["matrix"]["batchSizes"] = json!([16, 0]);
    let response = server.ask(Method::POST, "/experiments").json(&body).send().await.unwrap();
    let problem = problem(response, StatusCode::UNPROCESSABLE_ENTITY).await;
    let mut paths: Vec<&str> = problem.errors.iter().map(|error| error.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["spec.backends[1].type", "spec.load.duraton", "spec.matrix.batchSizes[1]"]);
    assert!(problem.detail.contains("3 mistakes"), "{}", problem.detail);
    assert!(problem.errors.iter().any(|error| error.message.contains("duration")), "the nearest name is offered: {problem:?}");
    assert_eq!(names(&server).await, Vec::<String>::new());
    server.stop().await;
}

#[tokio::test]
async fn the_same_again_is_fine_and_another_spec_is_not() {
    let server = Server::start().await;
    let post = |body: &Value| server.ask(Method::POST, "/experiments").json(body).send();
    let first = post(&experiment("demo")).await.unwrap();
    assert_eq!(first.status(), StatusCode::CREATED);
    assert_eq!(first.headers()["location"], "/experiments/demo");
    assert!(first.headers().contains_key("etag"));
    let first: Value = first.json().await.unwrap();
    assert_eq!(first["spec"]["retries"], 2, "defaults are filled in");
    assert_eq!(first["metadata"]["owner"], "ann", "the owner is the token's");

    // Labels and what may change later are no part of what is measured.
    let mut again = experiment("demo");
    again["metadata"]["labels"] = json!({});
    again["spec"]["retries"] = json!(7);
    let again = post(&again).await.unwrap();
    assert_eq!(again.status(), StatusCode::OK);
    let again: Value = again.json().await.unwrap();
    assert_eq!(again["metadata"]["uid"], first["metadata"]["uid"]);
    assert_eq!(again["spec"]["retries"], 2, "an equal post changes nothing");
    let said = again["warnings"].to_string();
    assert!(said.contains("metadata.labels, spec.retries differ"), "and says what it left as it was: {said}");

    let mut other = experiment("demo");
    other["spec"]["load"]["duration"] = json!("11s");
    let refused = problem(post(&other).await.unwrap(), StatusCode::CONFLICT).await;
    assert_eq!(refused.code, "already_exists");

    let read: Value = server.get("/experiments/demo").await.json().await.unwrap();
    let posted_back = post(&read).await.unwrap();
    assert_eq!(posted_back.status(), StatusCode::OK, "what GET returned is the same experiment");
    server.stop().await;
}

#[tokio::test]
async fn yaml_says_the_same_as_json() {
    let server = Server::start().await;
    for kind in ["application/yaml", "text/yaml; charset=utf-8", "application/x-yaml"] {
        let request = server.ask(Method::POST, "/experiments").header("content-type", kind).body(YAML);
        assert!(request.send().await.unwrap().status().is_success(), "{kind}");
    }
    let json = server.ask(Method::POST, "/experiments").json(&experiment("demo")).send().await.unwrap();
    assert_eq!(json.status(), StatusCode::OK);
    let two = server.ask(Method::POST, "/experiments").header("content-type", "application/yaml").body(format!("{YAML}---{YAML}"));
    let refused = problem(two.send().await.unwrap(), StatusCode::BAD_REQUEST).await;
    assert!(refused.detail.contains("post one experiment a request"), "{}", refused.detail);
    assert_eq!(names(&server).await, ["demo"]);
    server.stop().await;
}

#[tokio::test]
async fn a_dry_run_shows_the_script_and_stores_nothing() {
    let server = Server::start().await;
    let dry = || server.ask(Method::POST, "/experiments?dryRun=true");
    let answer = dry().json(&experiment("demo")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let answer: Value = answer.json().await.unwrap();
    let script = answer["script"].as_str().unwrap();
    assert!(script.starts_with("#!/bin/bash -l\n") && script.contains("#SBATCH --partition=main"), "{script}");
    assert_eq!(answer["status"]["trials"]["total"], 12);
    assert_eq!(names(&server).await, Vec::<String>::new());
    let rows = answer["trials"].as_array().unwrap();
    let cells: HashSet<String> = rows.iter().map(Value::to_string).collect();
    assert!(rows.len() == 12 && cells.len() == 12 && rows.iter().all(|row| row["job"] == 1), "each trial once: {rows:?}");
    let repetitions: Vec<u64> = rows.iter().map(|row| row["repetition"].as_u64().unwrap()).collect();
    assert!(repetitions.is_sorted(), "in the order of execution: {repetitions:?}");
    let warnings = answer["warnings"].to_string();
    assert!(warnings.contains("missing in the store: model") && warnings.contains("setup --store"), "{warnings}");

    // It refuses what a creation would refuse.
    server.post(experiment("demo")).await;
    let mut other = experiment("demo");
    other["spec"]["load"]["duration"] = json!("11s");
    problem(dry().json(&other).send().await.unwrap(), StatusCode::CONFLICT).await;
    server.stop().await;
}

#[tokio::test]
async fn a_generated_name_makes_a_new_experiment_each_time() {
    let server = Server::start().await;
    let mut body = experiment("unused");
    body["metadata"] = json!({"generateName": "nightly-"});
    for _ in 0..2 {
        let answer = server.ask(Method::POST, "/experiments").json(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
    }
    let names = names(&server).await;
    assert!(names.len() == 2 && names.iter().all(|name| name.starts_with("nightly-")), "{names:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_list_comes_in_pages_and_by_labels() {
    let server = Server::start().await;
    for name in ["a", "b", "c", "d", "e"] {
        let mut body = experiment(name);
        body["metadata"]["labels"] = json!({"even": (name == "b" || name == "d").to_string()});
        server.post(body).await;
    }
    let client = server.client(&server.admin);
    let (mut seen, mut next) = (Vec::new(), None);
    for _ in 0..3 {
        let options = em_api::client::experiments::ListOptions { limit: Some(2), next, ..Default::default() };
        let page = client.experiments(&options).await.unwrap();
        seen.extend(page.items.into_iter().map(|item| item.metadata.name));
        next = page.next;
    }
    assert_eq!((seen.concat().as_str(), next), ("abcde", None));
    let options = em_api::client::experiments::ListOptions { label_selector: Some("even=true".to_owned()), ..Default::default() };
    let selected = client.all_experiments(options).await.unwrap();
    assert_eq!(selected.iter().map(|item| item.metadata.name.as_str()).collect::<String>(), "bd");
    server.stop().await;
}
