//! Runs without a server: what goes into their folder, and what comes back from it.

use std::io::{Cursor, Write};

use em_api::client::experiments::Body;
use em_api::experiment::Created;
use em_api::plan::Plan;
use em_api::status::Phase;
use em_controlplane::store::trials::TrialRow;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::server::{Job, Server, experiment, problem};

type Files = Vec<(String, Vec<u8>)>;

async fn standalone(server: &Server, name: &str) -> Created {
    server.client(&server.admin).standalone(Body::Json(experiment(name)), "/shared/my run").await.unwrap()
}

#[tokio::test]
async fn a_folder_holds_one_job_so_finer_shards_are_refused_by_name() {
    let server = Server::start().await;
    let mut body = experiment("demo");
    body["spec"]["slurm"]["shard"] = json!("backend");
    let refused = server.client(&server.admin).standalone(Body::Json(body), "/shared/my run").await.unwrap_err();
    assert!(refused.to_string().contains("spec.slurm.shard"), "{refused}");
}

/// The run's agent, as far as it makes measurements.
fn job(server: &Server, plan: &Plan) -> Job {
    let rows = plan.services.iter().flat_map(|service| {
        service.trials.iter().map(|trial| TrialRow {
            id: trial.id,
            block: trial.block,
            shard: plan.shard,
            backend: service.backend.clone(),
            batch_size: trial.batch_size,
            load: trial.load,
            repetition: service.repetition,
        })
    });
    Job {
        name: plan.experiment.clone(),
        uid: plan.experiment_uid,
        rows: rows.collect(),
        attempt: plan.attempt,
        token: String::new(),
        agent: server.client(""),
    }
}

/// The folder after a run that measured the first `count` trials.
fn folder(server: &Server, made: &Created, count: usize) -> Files {
    let plan = made.plan.clone().unwrap();
    let mut files = vec![
        ("experiment.json".to_owned(), serde_json::to_vec(&made.experiment).unwrap()),
        ("plan.json".to_owned(), serde_json::to_vec(&plan).unwrap()),
    ];
    let job = job(server, &plan);
    for row in job.rows.iter().take(count) {
        let requests = if row.backend == "ort" { 400 } else { 200 };
        let body = serde_json::to_vec(&job.measured(row, requests)).unwrap();
        files.push((format!("spool/e0/measurement-{}.json", row.id), body));
    }
    files
}

async fn import(server: &Server, path: &str, files: &Files) -> Response {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        zip.start_file(name.as_str(), SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    server.ask(Method::POST, path).body(zip.finish().unwrap().into_inner()).send().await.unwrap()
}

#[tokio::test]
async fn a_folder_for_a_run_without_a_server_is_complete_and_stores_nothing() {
    let server = Server::start().await;
    let made = standalone(&server, "demo").await;
    let (script, plan) = (made.script.clone().unwrap(), made.plan.clone().unwrap());
    assert_eq!((plan.server, plan.experiment_uid), (None, made.experiment.metadata.uid));
    assert_eq!(plan.services.iter().map(|service| service.trials.len()).sum::<usize>(), 12);
    assert!(script.contains("em_dir='/shared/my run'\n") && script.contains("run --plan '/shared/my run/plan.json'"), "{script}");
    // A job of this name is none of the server's own, whose orphans it cancels.
    assert!(script.contains("#SBATCH --job-name=em-standalone-"), "{script}");
    assert!(server.client(&server.admin).experiment("demo").await.is_err(), "nothing is stored");

    for query in ["dryRun=true&standalone=relative", "dryRun=true&standalone=/a%25j", "standalone=/shared/run"] {
        let answer = server.ask(Method::POST, &format!("/experiments?{query}")).json(&experiment("demo")).send().await.unwrap();
        assert_eq!(problem(answer, StatusCode::BAD_REQUEST).await.code, "invalid_query", "{query}");
    }
    server.stop().await;
}

#[tokio::test]
async fn an_imported_run_has_results_and_never_a_job_of_its_own() {
    let server = Server::start().await;
    let made = standalone(&server, "demo").await;
    let files = folder(&server, &made, 12);
    let answer = import(&server, "/import", &files).await;
    assert_eq!((answer.status(), answer.headers()["location"].to_str().unwrap()), (StatusCode::CREATED, "/experiments/demo"));
    let created: Created = answer.json().await.unwrap();
    assert_eq!((created.experiment.status.phase, created.experiment.status.trials.succeeded), (Phase::Succeeded, 12));
    assert_eq!(created.experiment.metadata.uid, made.experiment.metadata.uid);
    let results = server.client(&server.admin).results("demo").await.unwrap();
    assert!(results.complete && results.cells.len() == 4, "{results:?}");
    let open = server.store.open_experiments().await.unwrap();
    assert!(open.is_empty(), "the reconciler has nothing to do with it");

    // Again, and under another name: it is the same run.
    assert_eq!(import(&server, "/import", &files).await.status(), StatusCode::OK);
    assert_eq!(import(&server, "/import?name=other", &files).await.status(), StatusCode::OK);
    // Another run of that name needs one of its own.
    let other = folder(&server, &standalone(&server, "demo").await, 11);
    assert_eq!(problem(import(&server, "/import", &other).await, StatusCode::CONFLICT).await.code, "already_exists");
    problem(import(&server, "/import?name=No%20Name", &other).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    let partial: Created = import(&server, "/import?name=other", &other).await.json().await.unwrap();
    assert_eq!((partial.experiment.status.phase, partial.experiment.status.trials.succeeded), (Phase::Failed, 11));
    assert!(partial.experiment.status.message.unwrap().contains("11 of 12"));
    server.stop().await;
}

#[tokio::test]
async fn what_does_not_belong_together_is_refused_and_leaves_nothing() {
    let server = Server::start().await;
    let made = standalone(&server, "demo").await;
    let sound = folder(&server, &made, 2);
    let changed = |name: &str, change: &dyn Fn(&mut Value)| {
        let mut files = sound.clone();
        let file = files.iter_mut().find(|(held, _)| held.starts_with(name)).unwrap();
        let mut value = serde_json::from_slice(&file.1).unwrap();
        change(&mut value);
        file.1 = serde_json::to_vec(&value).unwrap();
        files
    };
    let without = |name: &str| sound.iter().filter(|(held, _)| held != name).cloned().collect::<Files>();
    let ulid = "01M86GA7HM9YWSG0D4A24J10X1";
    for (files, words) in [
        (without("plan.json"), "holds no plan.json"),
        (without("experiment.json"), "holds no experiment.json"),
        (changed("spool", &|value| value["attempt"] = json!(ulid)), "is of another run"),
        (changed("spool", &|value| value["trial"] = json!(ulid)), "the plan has no trial"),
        (changed("spool", &|value| value["backend"] = json!("vllm")), "is of another run"),
        (changed("spool", &|value| value["epoch"] = json!(1)), "is of another run"),
        (changed("spool", &|value| value["outcome"] = json!(1)), "cannot be read"),
        (changed("plan.json", &|value| drop(value["services"].as_array_mut().unwrap().pop())), "the plan lacks trials"),
        (
            changed("experiment.json", &|value| value["spec"]["matrix"]["batchSizes"] = json!([16])),
            "trials that the experiment has not",
        ),
    ] {
        let problem = problem(import(&server, "/import", &files).await, StatusCode::BAD_REQUEST).await;
        assert!(problem.code == "invalid_import" && problem.detail.contains(words), "{words}: {problem:?}");
    }
    let spec = changed("experiment.json", &|value| value["spec"]["retries"] = json!(-1));
    problem(import(&server, "/import", &spec).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    let no_zip = server.ask(Method::POST, "/import").body("no zip").send().await.unwrap();
    problem(no_zip, StatusCode::BAD_REQUEST).await;
    assert!(server.client(&server.admin).experiment("demo").await.is_err());

    // Names that lead elsewhere are no names of ours.
    let mut strange = sound.clone();
    for name in ["../../escaped", "/etc/escaped", "spool/e0/../../escaped", "spool/ex/measurement-1.json", "logs/e0/x"] {
        strange.push((name.to_owned(), b"no json".to_vec()));
    }
    assert_eq!(import(&server, "/import", &strange).await.status(), StatusCode::CREATED);
    server.stop().await;
}
