//! A scripted agent: it reads a real job directory and talks to the real server, but measures nothing. Its numbers are made up.

use std::path::{Path, PathBuf};

use em_api::agent::{AgentPhase, ClaimAnswer, ClaimRequest, Directive, Record, RecordBatch, RecordBody, Sample};
use em_api::client::Client;
use em_api::client::agent::AgentCallError;
use em_api::measurement::{Environment, Histogram, Measurement, Outcome};
use em_api::plan::{Plan, PlannedTrial};
use em_api::{Timestamp, TrialId};
use em_stats::histogram;
use serde_json::json;

use crate::server::Server;

pub(crate) struct Agent<'a> {
    server: &'a Server,
    client: Client,
    pub(crate) dir: PathBuf,
    pub(crate) plan: Plan,
    pub(crate) epoch: u32,
    seq: std::cell::Cell<u64>,
}

impl<'a> Agent<'a> {
    /// Of the submission with this number, counted from 0.
    pub(crate) fn of(server: &'a Server, submission: usize) -> Self {
        let dir = server.slurm.submissions()[submission].job_dir.clone();
        let plan: Plan = serde_json::from_str(&std::fs::read_to_string(dir.join("plan.json")).unwrap()).unwrap();
        let token = std::fs::read_to_string(dir.join("token")).unwrap();
        // The plan's address may be that of a server before; the port of the test is random.
        let client = Client::new(&server.url, Some(token)).unwrap();
        Self { server, client, dir, plan, epoch: 0, seq: std::cell::Cell::new(0) }
    }

    pub(crate) fn claim(&self, job: &str, nonce: &str, restart_count: u32) -> Result<ClaimAnswer, AgentCallError> {
        let request = ClaimRequest {
            attempt: self.plan.attempt,
            slurm_job_id: job.to_owned(),
            restart_count,
            boot_nonce: nonce.to_owned(),
            node: "node1".to_owned(),
            version: "test".to_owned(),
        };
        self.server.calls.block_on(self.client.claim(&request))
    }

    pub(crate) fn records(&self, bodies: Vec<RecordBody>) -> Result<Directive, AgentCallError> {
        let record = |body| {
            self.seq.set(self.seq.get() + 1);
            Record { seq: self.seq.get(), at: Timestamp::now(), body }
        };
        let batch = RecordBatch { epoch: self.epoch, records: bodies.into_iter().map(record).collect() };
        self.server.calls.block_on(self.client.post_records(self.plan.attempt, &batch)).map(|answer| answer.directive)
    }

    pub(crate) fn log(line: &str) -> RecordBody {
        RecordBody::Log { stream: "agent".to_owned(), trial: None, backend: None, line: line.to_owned() }
    }

    pub(crate) fn phase(phase: AgentPhase, trial: Option<TrialId>) -> RecordBody {
        RecordBody::Phase { phase, message: String::new(), trial, backend: None }
    }

    pub(crate) fn sample(trial: TrialId, texts_per_s: f64) -> RecordBody {
        RecordBody::Sample(Sample {
            trial,
            elapsed_s: 1.0,
            texts_per_s,
            requests_per_s: 2.0,
            errors: 0,
            p50_ms: Some(5.0),
            p99_ms: None,
            cpu_cores: Some(1.0),
            memory_bytes: None,
            gpu_utilization: None,
        })
    }

    /// All trials of the plan, with their backends, in order.
    pub(crate) fn trials(&self) -> Vec<(String, u32, PlannedTrial)> {
        let services = self.plan.services.iter();
        services.flat_map(|run| run.trials.iter().map(|trial| (run.backend.clone(), run.repetition, *trial))).collect()
    }

    pub(crate) fn put(&self, measurement: &Measurement) -> Result<(), AgentCallError> {
        let body = serde_json::to_vec(measurement).unwrap();
        self.server.calls.block_on(self.client.put_measurement(self.plan.attempt, measurement.trial, body))
    }

    /// Hands in these trials as measured.
    pub(crate) fn hand_in(&self, trials: &[(String, u32, PlannedTrial)]) {
        for trial in trials {
            self.put(&self.measured(trial, 1_000)).unwrap();
        }
    }

    /// As the agent leaves it in the job directory.
    pub(crate) fn spool(&self, measurement: &Measurement) {
        let folder = self.dir.join(format!("spool/e{}", measurement.epoch));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("measurement-{}.json", measurement.trial));
        std::fs::write(path, serde_json::to_vec(measurement).unwrap()).unwrap();
    }

    pub(crate) fn measured(&self, trial: &(String, u32, PlannedTrial), requests: u64) -> Measurement {
        self.measurement(trial, Outcome::Measured { load: Box::new(load_report(trial.2, requests)) })
    }

    pub(crate) fn measurement(&self, (backend, repetition, trial): &(String, u32, PlannedTrial), outcome: Outcome) -> Measurement {
        Measurement {
            trial: trial.id,
            block: trial.block,
            attempt: self.plan.attempt,
            epoch: self.epoch,
            backend: backend.clone(),
            batch_size: trial.batch_size,
            load: trial.load,
            repetition: *repetition,
            started_at: Timestamp::now(),
            finished_at: Timestamp::now(),
            outcome,
            service: None,
            series: None,
            environment: Environment::default(),
        }
    }
}

fn load_report(trial: PlannedTrial, requests: u64) -> em_api::measurement::LoadReport {
    let mut latency = histogram::new();
    latency.record_n(5_000, requests).unwrap();
    let hdr = Histogram(histogram::encode(&latency));
    let per_second: Vec<_> =
        (0..10).map(|second| json!({"second": second, "requests_ok": requests / 10, "texts_ok": requests, "errors": 0})).collect();
    serde_json::from_value(json!({
        "url": "http://127.0.0.1:8002", "level": trial.load, "batch_size": trial.batch_size, "warmup_s": 1.0,
        "window_started_at": Timestamp::now(), "window_s": 10.0, "extended": false,
        "counts": em_api::measurement::OutcomeCounts { ok: requests, ..Default::default() },
        "texts_ok": requests * u64::from(trial.batch_size), "requests_ok": requests,
        "latency_us": hdr, "service_time_us": hdr, "slip_us": hdr, "per_second": per_second,
        "text_words": {"upper": [8], "counts": [1], "total_words": 8}, "embedding_dim": 384, "response_bytes": 1,
        "generator": {"cpu_s": 0.1, "cores": [0], "headroom_requests_per_s": null, "version": "test"},
        "dataset": {"source": "wordnet", "texts": 1000, "seed": 42, "sha256": "0", "malformed_lines": 0}
    }))
    .unwrap()
}

/// Whether a job directory holds a file for nobody but its owner.
pub(crate) fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
