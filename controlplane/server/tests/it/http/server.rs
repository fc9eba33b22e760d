//! A server for one test, the experiment that tests post, and what an agent hands in. The numbers are made up.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use actix_web::dev::ServerHandle;
use em_api::agent::{ClaimAnswer, ClaimRequest};
use em_api::client::Client;
use em_api::client::experiments::Body;
use em_api::experiment::Experiment;
use em_api::measurement::Measurement;
use em_api::problem::{CONTENT_TYPE, Problem};
use em_api::spec::LoadLevel;
use em_api::status::Phase;
use em_api::{AttemptId, ExperimentUid, HumanDuration, Timestamp};
use em_controlplane::http::{self, App};
use em_controlplane::job::JobSettings;
use em_controlplane::metrics::Metrics;
use em_controlplane::store::access::{Principal, Role, hash, new_secret};
use em_controlplane::store::transitions::Standing;
use em_controlplane::store::trials::TrialRow;
use em_controlplane::store::{Store, now};
use em_stats::histogram;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::postgres::fresh_schema;

pub(super) struct Server {
    pub(super) url: String,
    pub(super) store: Store,
    pub(super) admin: String,
    pub(super) scraper: String,
    http: reqwest::Client,
    stop: CancellationToken,
    handle: ServerHandle,
    database: String,
    _state: tempfile::TempDir,
}

impl Server {
    pub(super) async fn start() -> Self {
        Self::start_as(|app| app).await
    }

    /// With other bounds than users have.
    pub(super) async fn start_as(change: impl FnOnce(App) -> App) -> Self {
        let state = tempfile::tempdir().unwrap();
        let metrics = Metrics::new();
        let database = database(state.path()).await;
        let store = Store::open(&database, metrics.db_commit_seconds.clone()).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("http://{address}");
        let jobs = JobSettings {
            job_dir: PathBuf::from("/shared/jobs"),
            store_dir: PathBuf::from("/shared/store"),
            agent: PathBuf::from("/opt/em/em-agent"),
            advertise: url.clone(),
            claim_timeout: HumanDuration::from_secs(120),
        };
        let stop = CancellationToken::new();
        let app = change(App::new(store.clone(), metrics, jobs, address, stop.clone()));
        let running = http::server(app, listener).unwrap();
        let handle = running.handle();
        tokio::spawn(running);
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let mut server =
            Self { url, store, admin: String::new(), scraper: String::new(), http, stop, handle, database, _state: state };
        server.admin = server.token(Role::Admin).await;
        server.scraper = server.token(Role::Scraper).await;
        server
    }

    /// In order; what a test leaves open ends too.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.handle.stop(false).await;
        self.store.close().await;
    }

    pub(super) async fn token(&self, role: Role) -> String {
        let secret = new_secret("em");
        self.store.add_token(&secret, &Principal { owner: "ann".to_owned(), role }).await.unwrap();
        secret
    }

    pub(super) fn client(&self, token: &str) -> Client {
        Client::new(&self.url, Some(token.to_owned())).unwrap()
    }

    /// A request without a token.
    pub(super) fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    /// A request of the admin.
    pub(super) fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare(method, path).bearer_auth(&self.admin)
    }

    pub(super) async fn get(&self, path: &str) -> Response {
        self.ask(Method::GET, path).send().await.unwrap()
    }

    /// Our own exposition.
    pub(super) async fn metrics(&self) -> String {
        let request = self.bare(Method::GET, "/metrics").bearer_auth(&self.scraper);
        request.send().await.unwrap().text().await.unwrap()
    }

    /// How many rows a table has, read past the store.
    pub(super) async fn rows(&self, table: &str) -> i64 {
        self.all_rows().await[table]
    }

    /// How many rows each table has, read past the store.
    pub(super) async fn all_rows(&self) -> BTreeMap<String, i64> {
        let database = sqlx::AnyPool::connect(&self.database).await.unwrap();
        let tables = match self.database.starts_with("sqlite:") {
            true => "SELECT name FROM sqlite_master WHERE type = 'table'",
            false => "SELECT CAST(tablename AS TEXT) FROM pg_tables WHERE schemaname = current_schema()",
        };
        let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&database).await.unwrap();
        let mut rows = BTreeMap::new();
        for table in tables {
            let count = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
            rows.insert(table, sqlx::query_scalar(count).fetch_one(&database).await.unwrap());
        }
        database.close().await;
        rows
    }

    /// Deletes an experiment and does what the reconciler does then.
    pub(super) async fn remove(&self, name: &str) {
        self.client(&self.admin).delete_experiment(name).await.unwrap();
        let stored = self.store.stored(name).await.unwrap();
        self.store.remove_experiment(stored.uid, stored.revision).await.unwrap();
    }

    pub(super) async fn post(&self, body: Value) -> Experiment {
        self.client(&self.admin).create_experiment(Body::Json(body), false).await.unwrap().answer.experiment
    }

    /// Posts an experiment and does what the reconciler does up to `sbatch`.
    pub(super) async fn submitted(&self, name: &str) -> Job {
        let uid = self.post(experiment(name)).await.metadata.uid;
        let rows = self.store.matrix(uid).await.unwrap();
        let attempt = self.store.create_attempt(uid, rows[0].shard, 1, now()).await.unwrap();
        let token = new_secret("ema");
        let revision = self.store.attempt(attempt).await.unwrap().revision;
        self.store.begin_submitting(attempt, revision, &hash(&token), now()).await.unwrap();
        Job { name: name.to_owned(), uid, rows, attempt, agent: self.client(&token), token }
    }

    /// What the reconciler writes at the end.
    pub(super) async fn ended(&self, job: &Job) {
        let revision = self.store.stored(&job.name).await.unwrap().revision;
        let standing = Standing {
            phase: Phase::Succeeded,
            message: None,
            conditions: Vec::new(),
            trials: None,
            observed_generation: 1,
            started_at: Some(now()),
            finished_at: Some(now()),
            settled: true,
        };
        self.store.save_standing(job.uid, revision, &standing, &[]).await.unwrap();
    }
}

/// An empty one; `main` compiles these tests once for each kind.
async fn database(state: &Path) -> String {
    if module_path!().contains("::http_on_postgres::") { fresh_schema().await } else { Store::sqlite_url(state) }
}

/// A job as its agent sees it.
pub(super) struct Job {
    pub(super) name: String,
    pub(super) uid: ExperimentUid,
    pub(super) rows: Vec<TrialRow>,
    pub(super) attempt: AttemptId,
    pub(super) token: String,
    pub(super) agent: Client,
}

impl Job {
    pub(super) fn claim_request(&self, restart_count: u32, nonce: &str) -> ClaimRequest {
        ClaimRequest {
            attempt: self.attempt,
            slurm_job_id: "4711".to_owned(),
            restart_count,
            boot_nonce: nonce.to_owned(),
            node: "node1".to_owned(),
            version: "test".to_owned(),
        }
    }

    pub(super) async fn claimed(&self) -> ClaimAnswer {
        self.agent.claim(&self.claim_request(0, "first")).await.unwrap()
    }

    /// A valid trial of 10 s with 100 requests of 50 ms.
    pub(super) fn measurement(&self, row: &TrialRow) -> Measurement {
        self.measured(row, 100)
    }

    pub(super) fn measured(&self, row: &TrialRow, requests: u64) -> Measurement {
        let at: Timestamp = "2026-11-24T04:00:00Z".parse().unwrap();
        let LoadLevel::Concurrency(users) = row.load else { panic!("the test's load is closed") };
        let mut latency = histogram::new();
        latency.record_n(50_000, requests).unwrap();
        let latency = histogram::encode(&latency);
        let seconds: Vec<Value> = (0..10)
            .map(|second| json!({"second": second, "requests_ok": requests / 10, "texts_ok": requests / 10 * u64::from(row.batch_size), "errors": 0}))
            .collect();
        let load = json!({
            "url": "http://127.0.0.1:8002/v1/embeddings", "level": LoadLevel::Concurrency(users), "batch_size": row.batch_size,
            "warmup_s": 2.0, "window_started_at": at, "window_s": 10.0, "extended": false,
            "counts": {"ok": requests, "refused": 0, "timed_out": 0, "http_status": {}, "wrong_shape": 0, "not_finite": 0, "late": 0, "other": 0},
            "texts_ok": requests * u64::from(row.batch_size), "requests_ok": requests,
            "latency_us": latency, "service_time_us": latency, "slip_us": histogram::encode(&histogram::new()),
            "per_second": seconds, "text_words": {"upper": [8, 16], "counts": [10, 5], "total_words": 150},
            "embedding_dim": 384, "response_bytes": 1000,
            "generator": {"cpu_s": 1.0, "cores": [0, 1], "headroom_requests_per_s": 9000.0, "version": "test"},
            "dataset": {"source": "wordnet", "texts": 1000, "seed": 42, "sha256": "ab", "malformed_lines": 0},
        });
        let measurement = json!({
            "trial": row.id, "block": row.block, "attempt": self.attempt, "epoch": 0, "backend": row.backend,
            "batch_size": row.batch_size, "load": row.load, "repetition": row.repetition, "started_at": at, "finished_at": at,
            "outcome": {"kind": "measured", "load": load},
            "service": {"kind": "ort", "command_line": ["em-agent", "serve"], "port": 8002, "pid": 42, "url": "http://127.0.0.1:8002",
                        "device": "cpu", "dtype": "float32", "cold_start": {"http_ready_s": 1.0, "first_vector_s": 1.5, "warm_cache": null}, "versions": {}},
            "series": null,
            "environment": {"node": "node1", "cpu_model": "made up", "cores_allowed": 2, "kernel": "6.1", "memory_bytes": 1, "gpus": [],
                            "driver": null, "slurm_job_id": "4711", "agent_version": "test", "model_sha256": null},
        });
        serde_json::from_value(measurement).unwrap()
    }

    pub(super) async fn hand_in(&self, measurement: &Measurement) -> Result<(), em_api::client::agent::AgentCallError> {
        let json = serde_json::to_vec(measurement).unwrap();
        self.agent.put_measurement(self.attempt, measurement.trial, json).await
    }
}

/// Two backends × two batch sizes × three repetitions: 12 trials in one shard.
pub(super) fn experiment(name: &str) -> Value {
    json!({
        "apiVersion": "em/v1alpha1", "kind": "Experiment", "metadata": {"name": name, "labels": {"team": "search"}},
        "spec": {
            "model": {"id": "sentence-transformers/all-MiniLM-L6-v2", "dtype": "float32"},
            "dataset": {"source": "wordnet", "limit": 1000},
            "backends": [{"name": "hf", "type": "huggingface", "device": "cpu"}, {"name": "ort", "type": "ort", "device": "cpu"}],
            "matrix": {"batchSizes": [16, 32], "concurrency": [2]},
            "load": {"duration": "10s", "warmup": "2s", "repetitions": 3, "minRequests": 20},
            "slurm": {"partition": "main", "cpusPerTask": 2, "time": "1h"},
        }
    })
}

/// A refusal as the contract wants it: the status, problem+json, a code and a sentence.
pub(super) async fn problem(response: Response, status: StatusCode) -> Problem {
    let url = response.url().clone();
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    let (found, text) = (response.status(), response.text().await.unwrap());
    assert_eq!((found, kind.as_deref()), (status, Some(CONTENT_TYPE)), "{url}: {text}");
    let problem: Problem = serde_json::from_str(&text).unwrap();
    assert_eq!(problem.status, status.as_u16(), "{url}");
    assert!(!problem.code.is_empty() && !problem.detail.is_empty(), "{url}: {problem:?}");
    problem
}
