//! What the server says and takes is what its API document says: real answers and real bodies are held to the schemas.

use em_api::measurement::Measurement;
use jsonschema::Validator;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::server::{Job, Server, experiment, problem};

struct Document(Value);

impl Document {
    async fn of(server: &Server) -> Self {
        let response = server.bare(Method::GET, "/openapi.json").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "open to everybody, as the pages are");
        Self(response.json().await.unwrap())
    }

    /// Of a schema by its name.
    fn schema(&self, name: &str) -> Validator {
        let schema = json!({"$ref": format!("#/components/schemas/{name}"), "components": self.0["components"]});
        jsonschema::draft202012::new(&schema).unwrap()
    }

    fn holds(&self, name: &str, value: &Value) {
        let wrong: Vec<String> = self.wrong(name, value);
        assert!(wrong.is_empty(), "{value:#} is no {name}: {wrong:#?}");
    }

    fn wrong(&self, name: &str, value: &Value) -> Vec<String> {
        self.schema(name).iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    /// The answer to a GET, held to what the document says of that address, status and type.
    async fn checked(&self, server: &Server, template: &str, path: &str) -> Value {
        let response = server.get(path).await;
        let status = response.status().as_u16().to_string();
        let kind = response.headers()["content-type"].to_str().unwrap().split(';').next().unwrap().to_owned();
        let described = &self.0["paths"][template]["get"]["responses"][&status];
        let schema = described["content"][&kind]["schema"]["$ref"].as_str();
        let name = schema.unwrap_or_else(|| panic!("{path}: {status} {kind} is not described")).rsplit('/').next().unwrap();
        let text = response.text().await.unwrap();
        let value = if kind == "application/x-ndjson" {
            text.lines().next().map_or(Value::Null, |line| serde_json::from_str(line).unwrap())
        } else {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        };
        self.holds(name, &value);
        value
    }
}

/// A job of which everything is known: claimed, all trials measured, logs and vectors handed in, ended.
async fn finished(server: &Server) -> Job {
    let job = server.submitted("demo").await;
    job.claimed().await;
    let records = json!({"epoch": 0, "records": [
        {"seq": 1, "at": "2026-11-24T04:00:00Z", "kind": "phase", "phase": "warm-up", "message": "warming up", "trial": job.rows[0].id},
        {"seq": 2, "at": "2026-11-24T04:00:01Z", "kind": "log", "stream": "agent", "line": "hello"},
        {"seq": 3, "at": "2026-11-24T04:00:02Z", "kind": "sample", "trial": job.rows[0].id, "elapsed_s": 1.0, "texts_per_s": 10.0,
         "requests_per_s": 1.0, "errors": 0, "p50_ms": 5.0, "p99_ms": null, "cpu_cores": null, "memory_bytes": 7, "gpu_utilization": null},
        {"seq": 4, "at": "2026-11-24T04:00:03Z", "kind": "exposition", "text": "up 1"},
    ]});
    Document::of(server).await.holds("RecordBatch", &records);
    let path = format!("/agent/attempts/{}/records", job.attempt);
    let sent = server.bare(Method::POST, &path).bearer_auth(&job.token).json(&records).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::OK, "{}", sent.text().await.unwrap());
    for row in &job.rows {
        job.hand_in(&job.measured(row, if row.backend == "ort" { 400 } else { 200 } + 10 * u64::from(row.repetition)))
            .await
            .unwrap();
    }
    server.ended(&job).await;
    job
}

#[tokio::test]
async fn answers_are_as_described() {
    let server = Server::start().await;
    let document = Document::of(&server).await;
    server.post(experiment("new")).await;
    let job = finished(&server).await;
    for (template, path) in [
        ("/experiments", "/experiments"),
        ("/experiments", "/experiments?limit=1"),
        ("/experiments", "/experiments?limit=0"),
        ("/experiments/{name}", "/experiments/new"),
        ("/experiments/{name}", "/experiments/demo"),
        ("/experiments/{name}", "/experiments/nobody"),
        ("/experiments/{name}/trials", "/experiments/demo/trials"),
        ("/experiments/{name}/jobs", "/experiments/demo/jobs"),
        ("/experiments/{name}/events", "/experiments/demo/events"),
        ("/experiments/{name}/logs", "/experiments/demo/logs"),
        ("/experiments/{name}/script", "/experiments/demo/script"),
        ("/experiments/{name}/results", "/experiments/new/results"),
        ("/experiments/{name}/results", "/experiments/demo/results"),
        ("/experiments/{name}/report.{ending}", "/experiments/demo/report.json"),
        ("/experiments/{name}/report.{ending}", "/experiments/demo/report.md"),
        ("/experiments/{name}/plots/{file}", "/experiments/demo/plots/throughput_comparison.svg"),
        ("/cluster", "/cluster"),
        ("/prometheus/targets", "/prometheus/targets"),
        ("/metrics", "/metrics"),
        ("/healthz", "/healthz"),
        ("/readyz", "/readyz"),
        ("/openapi.json", "/openapi.json"),
    ] {
        document.checked(&server, template, path).await;
    }
    let agents = format!("/prometheus/agents/{}", job.attempt);
    document.checked(&server, "/prometheus/agents/{attempt}", &agents).await;
    let results = document.checked(&server, "/experiments/{name}/results", "/experiments/demo/results").await;
    assert_eq!(results["cells"].as_array().unwrap().len(), 4, "there was something to look at");
    server.stop().await;
}

#[tokio::test]
async fn what_people_and_agents_post_is_as_described() {
    let server = Server::start().await;
    let document = Document::of(&server).await;
    let mut generated = experiment("unused");
    generated["metadata"] = json!({"generateName": "nightly-"});
    for body in [experiment("demo"), generated] {
        document.holds("NewExperiment", &body);
        let response = server.ask(Method::POST, "/experiments").json(&body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        document.holds("Created", &response.json().await.unwrap());
    }
    let dry =
        server.ask(Method::POST, "/experiments?dryRun=true&standalone=/tmp/run").json(&experiment("dry")).send().await.unwrap();
    let dry: Value = dry.json().await.unwrap();
    assert!(dry["plan"].is_object(), "{dry}");
    document.holds("Created", &dry);

    let read: Value = server.get("/experiments/demo").await.json().await.unwrap();
    document.holds("NewExperiment", &read);
    let patch = json!({"metadata": {"labels": {"team": null}}, "spec": {"desired": "Suspended", "ttl": "30d", "priority": 5}});
    for patch in [patch, read] {
        document.holds("ExperimentPatch", &patch);
        let response = server.ask(Method::PATCH, "/experiments/demo").json(&patch).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{}", response.text().await.unwrap());
    }
    let job = server.submitted("measured").await;
    document.holds("ClaimRequest", &json!(job.claim_request(0, "first")));
    document.holds("ClaimAnswer", &json!(job.claimed().await));
    let measurement: Measurement = job.measurement(&job.rows[0]);
    document.holds("Measurement", &json!(measurement));
    server.stop().await;
}

/// Found by `make test-api`: sums over such counts made every answer about the experiment a 500.
#[tokio::test]
async fn counts_that_cannot_be_are_refused() {
    let server = Server::start().await;
    let job = server.submitted("demo").await;
    job.claimed().await;
    for (pointer, value, said) in [
        ("/outcome/load/counts/refused", json!(u64::MAX), "refused"),
        ("/outcome/load/counts/http_status/500", json!(u64::MAX), "http_status"),
        ("/outcome/load/window_s", json!(1e300), "window_s"),
        ("/outcome/load/window_s", json!(-1.0), "window_s"),
        ("/outcome/load/texts_ok", json!(i64::MAX), "texts_ok"),
    ] {
        let mut body = json!(job.measurement(&job.rows[0]));
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[field] = value;
        let path = format!("/agent/attempts/{}/trials/{}/measurement", job.attempt, job.rows[0].id);
        let response = server.bare(Method::PUT, &path).bearer_auth(&job.token).json(&body).send().await.unwrap();
        let refused = problem(response, StatusCode::UNPROCESSABLE_ENTITY).await;
        assert_eq!(refused.code, "foreign_measurement", "{pointer}");
        assert!(refused.detail.contains(said), "{}", refused.detail);
    }
    for path in ["results", "report.html", "plots/throughput_comparison.svg"] {
        assert_eq!(server.get(&format!("/experiments/demo/{path}")).await.status(), StatusCode::OK, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn the_examples_are_described_and_accepted() {
    let server = Server::start().await;
    let document = Document::of(&server).await;
    let content = &document.0["paths"]["/experiments"]["post"]["requestBody"]["content"]["application/json"];
    let examples = content["examples"].as_object().unwrap();
    assert_eq!(examples.len(), 3);
    for (name, example) in examples {
        document.holds("NewExperiment", &example["value"]);
        let response = server.ask(Method::POST, "/experiments?dryRun=true").json(&example["value"]).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{name}: {}", response.text().await.unwrap());
        assert!(example["summary"].as_str().is_some_and(|summary| summary.len() > 10), "{example}");
    }
    server.stop().await;
}

/// The schema of what people write is as strict as admission where a schema can be, and no stricter.
#[tokio::test]
async fn the_schema_and_admission_agree() {
    let server = Server::start().await;
    let document = Document::of(&server).await;
    let cases = [
        ("/spec/load/duration", json!("90 seconds"), false),
        ("/spec/load/duration", json!(90), false),
        ("/spec/load/duration", json!("1m30s"), true),
        ("/spec/load/repetitions", json!(0), false),
        ("/spec/load/repetitions", json!(null), true),
        ("/spec/slurm/setup", json!([null]), false),
        ("/spec/matrix/batchSizes", json!([16, null]), false),
        ("/spec/load/minRequests", json!("1K"), true),
        ("/spec/load/unknown", json!(1), false),
        ("/spec/matrix/batchSizes", json!(16), true),
        ("/spec/matrix/batchSizes", json!([16, 0]), false),
        ("/spec/matrix/batchSizes", json!([]), false),
        ("/spec/slurm/time", json!("1-12:00"), true),
        ("/spec/slurm/time", json!(90), true),
        ("/spec/slurm/time", json!("soon"), false),
        ("/spec/slurm/memory", json!("32 GB"), true),
        ("/spec/slurm/memory", json!("much"), false),
        ("/spec/slurm/gpus", json!(2), true),
        ("/spec/slurm/nodes", json!(2), false),
        ("/spec/slurm/env", json!({"A": 1}), true),
        ("/spec/slurm/env", json!({"A B": "1"}), false),
        ("/spec/backends/0/parity", json!("report"), true),
        ("/spec/backends/0/parity", json!({"minCosine": 2}), false),
        ("/spec/backends/0/type", json!("orrt"), false),
        ("/spec/backends/0/sweep", json!({"dtype": ["float32"]}), true),
        ("/spec/backends/0/name", json!("A"), false),
        ("/spec/model/id", json!("../../etc"), false),
        ("/spec/model/path", json!("relative"), false),
        ("/spec/desired", json!("Cancelled"), false),
        ("/metadata/name", json!("UPPER"), false),
        ("/metadata/generateName", json!("too-"), false),
        ("/metadata/uid", json!("passed over"), true),
        ("/kind", json!("Other"), false),
        ("/status", json!(1), true),
        ("/other", json!(1), false),
    ];
    for (pointer, value, fine) in cases {
        let mut body = experiment("demo");
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[field] = value.clone();
        assert_eq!(document.wrong("NewExperiment", &body).is_empty(), fine, "the schema: {pointer} = {value}");
        let response = server.ask(Method::POST, "/experiments?dryRun=true").json(&body).send().await.unwrap();
        assert_eq!(response.status() == StatusCode::OK, fine, "admission: {pointer} = {value}: {}", response.text().await.unwrap());
    }
    server.stop().await;
}

#[tokio::test]
async fn the_page_brings_all_that_it_needs() {
    let server = Server::start().await;
    let moved = server.bare(Method::GET, "/docs").send().await.unwrap();
    assert_eq!((moved.status(), &moved.headers()["location"]), (StatusCode::FOUND, &"/docs/".parse().unwrap()));
    let page = server.bare(Method::GET, "/docs/").send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'self'") && !policy.contains("script-src"), "{policy}");
    let page = page.text().await.unwrap();
    assert!(!page.contains("://"), "nothing comes from elsewhere: {page}");
    let named = page.split(['"', '\'']).filter(|part| part.ends_with(".js") || part.ends_with(".css")).collect::<Vec<_>>();
    assert!(named.len() >= 3, "{page}");
    for file in named {
        let response = server.bare(Method::GET, &format!("/docs/{}", file.trim_start_matches("./"))).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{file}");
    }
    let start = server.bare(Method::GET, "/docs/swagger-initializer.js").send().await.unwrap().text().await.unwrap();
    assert!(start.contains("/openapi.json"), "{start}");
    assert_eq!(server.bare(Method::GET, "/docs/..%2fCargo.toml").send().await.unwrap().status(), StatusCode::NOT_FOUND);
    server.stop().await;
}
