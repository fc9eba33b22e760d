//! Made-up measurements for tests and for looking at reports: no number here was ever measured. `realistic` has the shape of a
//! real experiment with its usual mishaps; the small builders make single trials with round numbers.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use em_api::agent::ParityVectors;
use em_api::experiment::Experiment;
use em_api::measurement::*;
use em_api::spec::LoadLevel;
use em_api::{AttemptId, BlockId, Timestamp, TrialId};
use em_stats::histogram;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use ulid::Ulid;

use super::ResultsInput;

pub(crate) const START: i64 = 1_795_000_000;

/// An experiment without measurements; every backend has a gate of 0.999 against the first.
pub(crate) fn experiment(backends: &[&str], batch_sizes: &[u32], repetitions: u32) -> ResultsInput {
    let kinds = ["huggingface", "vllm", "ort", "tei"];
    let backend = |(at, name): (usize, &&str)| json!({"name": name, "type": kinds[at % 4], "device": "cpu", "args": [], "env": {}, "startTimeout": "5m", "parity": {"minCosine": 0.999}});
    let stamp = Timestamp::from_second(START - 600).expect("in range").to_string();
    let experiment = json!({
        "apiVersion": "em/v1alpha1", "kind": "Experiment",
        "metadata": {"name": "made-up", "uid": Ulid::from(1_u128).to_string(), "owner": "admin", "resourceVersion": 7, "generation": 1, "createdAt": stamp,
                     "labels": {"data": "made-up"}},
        "spec": {
            "desired": "Run",
            "model": {"id": "sentence-transformers/all-MiniLM-L6-v2", "revision": "main", "pooling": "mean", "normalize": true, "dtype": "float32"},
            "dataset": {"source": "wordnet", "limit": 100_000, "seed": 42},
            "backends": backends.iter().enumerate().map(backend).collect::<Vec<_>>(),
            "matrix": {"batchSizes": batch_sizes, "concurrency": [10]},
            "load": {"duration": "10s", "warmup": "2s", "repetitions": repetitions, "arrival": "constant", "wire": "openai-float", "timeout": "30s",
                     "minRequests": 20, "service": "perRepetition", "placement": "sameNode"},
            "checks": {"parity": {"reference": backends.first()}},
            "slurm": {"nodes": 1, "exclusive": false, "time": "4h", "requeue": false, "modules": [], "setup": [], "env": {}, "extraArgs": [],
                      "shard": "experiment", "sameNode": false},
            "retries": 2, "maxContinuations": 10, "retryTrials": false, "priority": 0, "logsTtl": "30d", "allowDownload": false
        },
        "status": {"phase": "Succeeded", "observedGeneration": 1,
                   "trials": {"total": 0, "pending": 0, "running": 0, "succeeded": 0, "failed": 0, "interrupted": 0, "invalid": 0, "inconclusive": 0}}
    });
    let experiment: Experiment = serde_json::from_value(experiment).expect("the made-up experiment is complete");
    ResultsInput { experiment, measurements: Vec::new(), parity: Vec::new(), jobs: Vec::new() }
}

pub(crate) fn id(parts: &[u64]) -> Ulid {
    Ulid::from(parts.iter().fold(0_u128, |all, part| all * 1_000 + u128::from(*part)))
}

/// A valid 10 s trial of attempt 1 with `requests` requests of 50 ms each, steady.
pub(crate) fn trial(backend: &str, batch_size: u32, repetition: u32, requests: u64) -> Measurement {
    let name = backend.bytes().fold(0_u64, |hash, byte| (hash * 31 + u64::from(byte)) % 997);
    let mut latency = histogram::new();
    latency.record_n(50_000, requests).expect("in range");
    let started_at = Timestamp::from_second(START + i64::from(repetition) * 600 + i64::from(batch_size)).expect("in range");
    Measurement {
        trial: TrialId(id(&[9, name, batch_size.into(), repetition.into()])),
        block: BlockId(id(&[8, batch_size.into(), repetition.into()])),
        attempt: AttemptId(id(&[1])),
        epoch: 0,
        backend: backend.to_owned(),
        batch_size,
        load: LoadLevel::Concurrency(10),
        repetition,
        started_at,
        finished_at: started_at,
        outcome: Outcome::Measured { load: Box::new(load_report(batch_size, 10.0, &[requests / 10; 10], &latency, started_at)) },
        service: Some(service()),
        series: None,
        environment: Environment {
            node: "node1".to_owned(),
            cpu_model: "Made-up CPU, 8 cores".to_owned(),
            cores_allowed: 8,
            kernel: "Linux 6.1".to_owned(),
            memory_bytes: 32 << 30,
            slurm_job_id: Some("4711".to_owned()),
            agent_version: "0.1.0".to_owned(),
            model_sha256: Some("5f3c0e9a".repeat(8)),
            ..Environment::default()
        },
    }
}

fn service() -> ServiceReport {
    ServiceReport {
        kind: "ort".to_owned(),
        command_line: vec!["em-agent".to_owned(), "serve".to_owned(), "ort".to_owned()],
        port: 8002,
        pid: Some(4242),
        url: "http://127.0.0.1:8002".to_owned(),
        device: "cpu".to_owned(),
        dtype: "float32".to_owned(),
        cold_start: ColdStart { http_ready_s: 2.5, first_vector_s: 3.0, warm_cache: None },
        versions: BTreeMap::from([("onnxruntime".to_owned(), "1.24.0".to_owned())]),
        settings: BTreeMap::new(),
    }
}

fn load_report(
    batch_size: u32,
    window_s: f64,
    per_second: &[u64],
    latency: &hdrhistogram::Histogram<u64>,
    at: Timestamp,
) -> LoadReport {
    let requests: u64 = per_second.iter().sum();
    let bin = |(second, requests): (usize, &u64)| SecondBin {
        second: second as u32,
        requests_ok: *requests,
        texts_ok: requests * u64::from(batch_size),
        errors: 0,
    };
    LoadReport {
        url: "http://127.0.0.1:8002/v1/embeddings".to_owned(),
        level: LoadLevel::Concurrency(10),
        batch_size,
        warmup_s: 2.0,
        window_started_at: at,
        window_s,
        extended: false,
        counts: OutcomeCounts { ok: requests, ..OutcomeCounts::default() },
        texts_ok: requests * u64::from(batch_size),
        requests_ok: requests,
        latency_us: Histogram(histogram::encode(latency)),
        service_time_us: Histogram(histogram::encode(latency)),
        slip_us: Histogram(histogram::encode(&histogram::new())),
        per_second: per_second.iter().enumerate().map(bin).collect(),
        text_words: LengthHistogram { upper: vec![8, 16, 32], counts: vec![10, 20, 5], total_words: 400 },
        embedding_dim: Some(384),
        response_bytes: 1_000,
        generator: GeneratorReport {
            cpu_s: 1.0,
            cores: vec![0, 1],
            headroom_requests_per_s: Some(9_000.0),
            slip_p99_ms: Some(0.1),
            cpu_wait_s: Some(0.2),
            version: "0.1.0".to_owned(),
        },
        dataset: DatasetReport {
            source: "wordnet".to_owned(),
            texts: 100_000,
            seed: 42,
            sha256: "ab".repeat(32),
            malformed_lines: 0,
        },
        error_examples: Vec::new(),
        find_max: None,
        plan: BTreeMap::new(),
        merged: None,
    }
}

/// The load report of a measured trial, to bend it.
pub(crate) fn report(measurement: &mut Measurement) -> &mut LoadReport {
    match &mut measurement.outcome {
        Outcome::Measured { load } => load,
        other => panic!("not measured: {other:?}"),
    }
}

pub(crate) fn fail(measurement: &mut Measurement, message: &str) {
    measurement.outcome = Outcome::Failed {
        reason: "ServiceStartFailed".to_owned(),
        message: message.to_owned(),
        log_tail: "RuntimeError: made up".to_owned(),
    };
    measurement.service = None;
    measurement.series = None;
}

/// 40 unit vectors of 16 values; `noise` bends each value by up to so much before.
pub(crate) fn vectors(backend: &str, noise: f32) -> ParityVectors {
    let mut bend = StdRng::seed_from_u64(2);
    ParityVectors {
        backend: backend.to_owned(),
        repetition: 1,
        dim: DIM as u32,
        count: COUNT as u32,
        texts_sha256: "cd".repeat(32),
        vectors: encoded(directions(|value| value + noise * bend.random_range(-1.0_f32..1.0)), |value| value),
    }
}

/// The same directions without noise, each value changed.
pub(crate) fn vectors_from(change: impl Fn(f32) -> f32) -> String {
    encoded(directions(|value| value), change)
}

const COUNT: usize = 40;
const DIM: usize = 16;

fn directions(mut bend: impl FnMut(f32) -> f32) -> Vec<f32> {
    let mut direction = StdRng::seed_from_u64(1);
    let mut rows: Vec<f32> = (0..COUNT * DIM).map(|_| bend(direction.random_range(-1.0_f32..1.0))).collect();
    for row in rows.chunks_exact_mut(DIM) {
        let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
        row.iter_mut().for_each(|value| *value /= length);
    }
    rows
}

fn encoded(rows: Vec<f32>, change: impl Fn(f32) -> f32) -> String {
    STANDARD.encode(rows.into_iter().flat_map(|value| change(value).to_le_bytes()).collect::<Vec<u8>>())
}

/// Texts/s at the smallest batch, and the latency of one text, of a backend and its growth with the batch.
struct Profile {
    name: &'static str,
    texts_per_second: f64,
    growth: f64,
    cores: f64,
    memory: f64,
}

/// Three backends (two with long names) × batch sizes 16, 32, 64 × 3 repetitions of 12 s (on a GPU 30 s), one failed trial, one
/// invalid, percentiles withheld where requests are few.
pub(crate) fn realistic(gpu: bool) -> ResultsInput {
    let speed = if gpu { 12.0 } else { 1.0 };
    let profiles = [
        Profile { name: "huggingface-langchain-float32", texts_per_second: 190.0, growth: 1.08, cores: 5.1, memory: 1.9e9 },
        Profile {
            name: "vllm-max-num-seqs-256-api-server-count-4",
            texts_per_second: 240.0,
            growth: 1.16,
            cores: 5.6,
            memory: 4.4e9,
        },
        Profile { name: "ort", texts_per_second: 560.0, growth: 1.03, cores: 5.9, memory: 6.1e8 },
    ];
    let mut input = experiment(&profiles.each_ref().map(|profile| profile.name), &[16, 32, 64], 3);
    let mut random = StdRng::seed_from_u64(20_261_124);
    for repetition in 1..=3 {
        let node = 1.0 + 0.04 * random.random_range(-1.0..1.0);
        for (step, batch_size) in [16_u32, 32, 64].into_iter().enumerate() {
            for profile in &profiles {
                let rate = profile.texts_per_second
                    * speed
                    * profile.growth.powi(step as i32)
                    * node
                    * (1.0 + 0.015 * random.random_range(-1.0..1.0));
                let mut one = made_up(profile, batch_size, repetition, rate, gpu, &mut random);
                one.started_at = Timestamp::from_second(START + input.measurements.len() as i64 * 45).expect("in range");
                input.measurements.push(one);
            }
        }
    }
    let failing =
        input.measurements.iter_mut().find(|one| one.backend.starts_with("vllm") && one.batch_size == 64 && one.repetition == 3);
    fail(
        failing.expect("made above"),
        "vllm did not answer its health route within 5m: out of memory while the key-value cache was set aside",
    );
    let broken =
        input.measurements.iter_mut().find(|one| one.backend.starts_with("hugging") && one.batch_size == 16 && one.repetition == 2);
    let load = report(broken.expect("made above"));
    load.counts.timed_out = load.counts.ok / 25;
    load.error_examples.push("operation timed out after 30s".to_owned());
    input.parity = vec![vectors(profiles[0].name, 0.0), vectors(profiles[1].name, 0.002), vectors(profiles[2].name, 0.0002)];
    input
}

fn made_up(profile: &Profile, batch_size: u32, repetition: u32, rate: f64, gpu: bool, random: &mut StdRng) -> Measurement {
    let mut one = trial(profile.name, batch_size, repetition, 100);
    let seconds = if gpu { 30 } else { 12 };
    let per_second: Vec<u64> = (0..seconds)
        .map(|_| (rate / f64::from(batch_size) * (1.0 + 0.1 * random.random_range(-1.0..1.0))).round() as u64)
        .collect();
    let mut latency = histogram::new();
    let typical_us = 10.0 * f64::from(batch_size) / rate * 1e6;
    for _ in 0..per_second.iter().sum::<u64>() {
        // A sum of uniforms is near enough to a normal; its exponential is skewed to the right as latencies are.
        let normal: f64 = (0..12).map(|_| random.random_range(0.0..1.0)).sum::<f64>() - 6.0;
        latency.saturating_record((typical_us * (0.16 * normal).exp()) as u64);
    }
    let mut load = load_report(batch_size, f64::from(seconds), &per_second, &latency, one.started_at);
    load.generator.cpu_s = 0.9;
    load.generator.cores = if gpu { vec![0, 1] } else { (0..8).collect() };
    one.outcome = Outcome::Measured { load: Box::new(load) };
    one.series = Some(series(profile, f64::from(seconds), gpu, random));
    if gpu {
        one.environment.gpus = vec![GpuInfo {
            index: 0,
            uuid: "GPU-made-up".to_owned(),
            name: "NVIDIA L40S (made up)".to_owned(),
            memory_bytes: 48 << 30,
            ..GpuInfo::default()
        }];
        one.environment.driver = Some("560.35".to_owned());
    }
    one
}

fn series(profile: &Profile, seconds: f64, gpu: bool, random: &mut StdRng) -> Series {
    let t_ms: Vec<i64> = (0..(seconds * 10.0) as i64).map(|step| step * 100).collect();
    let mut columns = BTreeMap::new();
    let mut column = |name: &str, level: f64, scatter: f64| {
        let values = t_ms.iter().map(|_| Some(level * (1.0 + scatter * random.random_range(-1.0..1.0)))).collect();
        columns.insert(name.to_owned(), values);
    };
    column("cpu_cores", profile.cores, 0.1);
    column("memory_bytes", profile.memory, 0.01);
    if gpu {
        column("gpu0_utilization_ratio", 0.11 * profile.cores + 0.3, 0.05);
        column("gpu0_memory_used_bytes", profile.memory * 2.5, 0.01);
        column("gpu0_power_watts", 40.0 * profile.cores, 0.06);
        let watts = 40.0 * profile.cores;
        columns.insert("gpu0_energy_joules".to_owned(), t_ms.iter().map(|at| Some(1e6 + watts * *at as f64 / 1_000.0)).collect());
    }
    let resource = if gpu { Resource::Gpu } else { Resource::Process };
    Series { resource, origin: Timestamp::from_second(START).expect("in range"), t_ms, columns, sampler_cpu_ratio: Some(0.004) }
}
