//! Never a lost job, never a doubled one: real Slurm, the real server and agents, and an sbatch that breaks in every way that sites
//! know, while the controller is killed and restarted; and never more reads than the budget has. `make test-chaos` runs it with 210
//! submissions and 5,000 jobs, `make test` with few.

mod budget;
mod duplicates;
mod jobs;
mod kills;
mod storm;

use em_e2e::{Cluster, ControlPlane, EmbeddingServer, FaultySbatch};

/// A server on `cluster` that uses `sbatch`, with times that make outages short.
fn plane(cluster: &Cluster, sbatch: &FaultySbatch) -> ControlPlane {
    let bin = sbatch.path().to_string_lossy().into_owned();
    ControlPlane::start_with(
        cluster,
        &[
            "--slurm-bin-dir",
            &bin,
            "--slurm-timeout",
            "3s",
            "--settle-time",
            "2s",
            "--poll-interval",
            "1s",
            "--fast-poll-interval",
            "500ms",
            "--slurm-reads-per-minute",
            "240",
            "--submit-rate",
            "0",
            "--limit-pause",
            "1s",
            "--retry-backoff",
            "1s",
            "--missing-grace",
            "8s",
            "--agent-silent-after",
            "6s",
            "--claim-timeout",
            "20s",
        ],
    )
}

/// An experiment of one-second trials against a server that runs already: `shards` jobs.
fn experiment(name: &str, shards: usize, server: &EmbeddingServer) -> String {
    format!(
        r#"
apiVersion: em/v1alpha1
kind: Experiment
metadata: {{name: {name}}}
spec:
  model: {{id: sentence-transformers/all-MiniLM-L6-v2, dtype: float32}}
  dataset: {{source: wordnet, limit: 500}}
  backends: [{{name: running, type: openai, url: "{}"}}]
  matrix: {{batchSizes: [1], concurrency: [1]}}
  load: {{duration: 1s, warmup: 0s, repetitions: {shards}, minRequests: 1}}
  slurm: {{partition: main, cpusPerTask: 1, memory: 200M, time: 10m, shard: trial}}
  retries: 0
"#,
        server.url()
    )
}
