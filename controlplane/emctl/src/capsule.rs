//! `emctl capsule`: what it takes to run the same again. `-o yaml` holds everything; the text shows what differs between machines.

use std::fmt::Write as _;

use em_api::capsule::{Capsule, CapsuleJob, CapsuleNode, CapsuleService};
use em_api::client::Client;
use em_api::measurement::GpuInfo;

use crate::cli::Format;
use crate::failure::Failure;
use crate::human::{self, harmless};
use crate::output::show;

pub(crate) async fn run(client: &Client, name: &str, format: Format) -> Result<(), Failure> {
    show(&client.capsule(name).await?, format, page, |capsule| capsule.experiment.clone())
}

/// Of the names of lines.
const LEAST_WIDTH: usize = 14;

fn page(capsule: &Capsule) -> String {
    let mut text = String::new();
    let mut part = |title: &str, lines: Vec<(String, String)>| {
        let lines: Vec<_> = lines.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        if !lines.is_empty() {
            let _ = writeln!(text, "{}{title}", if text.is_empty() { "" } else { "\n" });
            let width = lines.iter().map(|(name, _)| name.len()).fold(LEAST_WIDTH, usize::max) + 2;
            for (name, value) in lines {
                let _ = writeln!(text, "  {:<width$}{}", format!("{name}:"), harmless(&value));
            }
        }
    };
    let lines = vec![line("uid", capsule.uid), line("control plane", &capsule.control_plane)];
    part(&format!("Experiment {}", capsule.experiment), lines);
    capsule.jobs.iter().for_each(|one| part(&format!("Job {}", one.id.as_deref().unwrap_or("without an id")), job(one)));
    capsule.nodes.iter().for_each(|one| part(&format!("Node {}", one.environment.node), node(one)));
    for data in &capsule.datasets {
        let lines = vec![line("texts", data.texts), line("seed", data.seed), line("SHA-256", &data.sha256)];
        part(&format!("Texts {}", data.source), lines);
    }
    for starts in alike(&capsule.services) {
        part(&format!("Service {}", starts[0].backend), service(&starts));
    }
    text
}

/// Starts that differ in nothing but times, ports and folders of their own.
fn alike(services: &[CapsuleService]) -> Vec<Vec<&CapsuleService>> {
    let lasting = |one: &CapsuleService| {
        let of = &one.service;
        (one.backend.clone(), of.kind.clone(), of.device.clone(), of.dtype.clone(), of.versions.clone(), of.settings.clone())
    };
    let mut groups: Vec<Vec<&CapsuleService>> = Vec::new();
    for one in services {
        match groups.iter_mut().find(|group| lasting(group[0]) == lasting(one)) {
            Some(group) => group.push(one),
            None => groups.push(vec![one]),
        }
    }
    groups
}

fn line(name: &str, value: impl ToString) -> (String, String) {
    (name.to_owned(), value.to_string())
}

fn job(job: &CapsuleJob) -> Vec<(String, String)> {
    vec![
        line("submitted", job.submitted_at.map(|at| at.to_string()).unwrap_or_default()),
        line("started", job.started_at.map(|at| at.to_string()).unwrap_or_default()),
        line("waited", job.queue_seconds.map(|waited| human::seconds(waited.round() as u64)).unwrap_or_default()),
    ]
}

fn node(node: &CapsuleNode) -> Vec<(String, String)> {
    let of = &node.environment;
    let mut lines = vec![
        line("trials", node.trials.len()),
        line("CPU", format!("{}, {} cores allowed", of.cpu_model, of.cores_allowed)),
        line("memory", human::bytes(of.memory_bytes as f64)),
        line("kernel", &of.kernel),
    ];
    lines.extend(of.gpus.iter().map(|one| line(&format!("GPU {}", one.index), gpu(one))));
    lines.push(line("driver", of.driver.as_deref().unwrap_or_default()));
    lines.push(line("agent", of.agent()));
    lines.push(line("model SHA-256", of.model_sha256.as_deref().unwrap_or_default()));
    lines.extend(of.extra.iter().map(|(name, value)| line(name, value)));
    lines
}

fn gpu(gpu: &GpuInfo) -> String {
    let mode =
        |name: &str, mode: Option<bool>| mode.map(|on| format!(", {name} {}", if on { "on" } else { "off" })).unwrap_or_default();
    let clock = gpu.max_sm_clock_hertz.map(|hertz| format!(", up to {:.0} MHz", hertz / 1e6)).unwrap_or_default();
    format!(
        "{}, {}{clock}{}{}, {}",
        gpu.name,
        human::bytes(gpu.memory_bytes as f64),
        mode("ECC", gpu.ecc),
        mode("MIG", gpu.mig),
        gpu.uuid
    )
}

/// `starts`: alike, at least one. The command line is that of the first.
fn service(starts: &[&CapsuleService]) -> Vec<(String, String)> {
    let of = &starts[0].service;
    let flat = |pairs: &std::collections::BTreeMap<String, String>| {
        pairs.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
    };
    vec![
        line("starts", starts.len()),
        line("trials", starts.iter().map(|one| one.trials.len()).sum::<usize>()),
        line("kind", format!("{} on {}, {}", of.kind, of.device, of.dtype)),
        line("versions", flat(&of.versions)),
        line("settings", flat(&of.settings)),
        line("command", of.command_line.join(" ")),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn start(pid: u32, version: &str) -> serde_json::Value {
        json!({"backend": "vllm", "trials": ["01JDD2T4C3X5B7N9Q1R3S5T7V9"], "service": {
            "kind": "vllm", "command_line": ["python", "-m", "vllm"], "port": 8001, "pid": pid, "url": "http://127.0.0.1:8001",
            "device": "cuda", "dtype": "float16", "cold_start": {"http_ready_s": 1.0, "first_vector_s": 2.0, "warm_cache": null},
            "versions": {"torch": "2.13.0", "vllm": version}}})
    }

    #[test]
    fn the_page_tells_nodes_services_and_waits() {
        let capsule = json!({
            "experiment": "demo", "uid": "01JDD2T4C3X5B7N9Q1R3S5T7V9", "controlPlane": {"version": "0.1.0", "revision": "46d8d7d"},
            "spec": {
                "desired": "Run",
                "model": {"id": "m", "revision": "main", "pooling": "mean", "normalize": true, "dtype": "float32"},
                "dataset": {"source": "wordnet", "limit": 100, "seed": 42}, "backends": [], "matrix": {"batchSizes": [1], "concurrency": [1]},
                "load": {"duration": "10s", "warmup": "2s", "repetitions": 1, "arrival": "constant", "wire": "openai-float", "timeout": "30s",
                         "minRequests": 20, "service": "perRepetition", "placement": "sameNode"},
                "checks": {"parity": {"reference": null}},
                "slurm": {"nodes": 1, "exclusive": false, "time": "4h", "requeue": false, "modules": [], "setup": [], "env": {},
                          "extraArgs": [], "shard": "experiment", "sameNode": false},
                "retries": 2, "maxContinuations": 10, "retryTrials": false, "priority": 0, "logsTtl": "30d", "allowDownload": false
            },
            "jobs": [{"attempt": "01JDD2T4C3X5B7N9Q1R3S5T7V9", "id": "4711", "node": "gpu1", "submittedAt": "2026-11-24T10:00:00Z",
                      "startedAt": "2026-11-24T10:12:00Z", "queueSeconds": 720.0}],
            "nodes": [{"trials": ["01JDD2T4C3X5B7N9Q1R3S5T7V9"], "environment": {
                "node": "gpu1", "cpu_model": "Xeon", "cores_allowed": 8, "kernel": "6.1", "memory_bytes": 64_000_000_000_u64,
                "gpus": [{"index": 0, "uuid": "GPU-1", "name": "L40S", "memory_bytes": 48_000_000_000_u64, "ecc": true, "mig": false}],
                "driver": "580.1", "slurm_job_id": "4711", "agent_version": "0.1.0", "model_sha256": null, "extra": {"numa_nodes": "0-1", "slurm_cpus_per_task": "8"}}}],
            "services": [start(7, "0.32.0"), start(9, "0.32.0"), start(11, "0.33.0")],
            "datasets": [{"source": "wordnet", "texts": 100, "seed": 42, "sha256": "ab", "malformed_lines": 0}],
        });
        let capsule: Capsule = serde_json::from_value(capsule).expect("a capsule");
        insta::assert_snapshot!(page(&capsule), @"
        Experiment demo
          uid:            01JDD2T4C3X5B7N9Q1R3S5T7V9
          control plane:  0.1.0, git 46d8d7d

        Job 4711
          submitted:      2026-11-24T10:00:00Z
          started:        2026-11-24T10:12:00Z
          waited:         12 min

        Node gpu1
          trials:              1
          CPU:                 Xeon, 8 cores allowed
          memory:              64.0 GB
          kernel:              6.1
          GPU 0:               L40S, 48.0 GB, ECC on, MIG off, GPU-1
          driver:              580.1
          agent:               0.1.0
          numa_nodes:          0-1
          slurm_cpus_per_task: 8

        Texts wordnet
          texts:          100
          seed:           42
          SHA-256:        ab

        Service vllm
          starts:         2
          trials:         2
          kind:           vllm on cuda, float16
          versions:       torch 2.13.0, vllm 0.32.0
          command:        python -m vllm

        Service vllm
          starts:         1
          trials:         1
          kind:           vllm on cuda, float16
          versions:       torch 2.13.0, vllm 0.33.0
          command:        python -m vllm
        ");
    }
}
