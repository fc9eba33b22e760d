//! The environment capsule: what a reader needs to run the same again.

use std::path::Path;

use em_api::inputs::{EntryKind, key_of};
use em_api::measurement::Environment;
use em_api::plan::Plan;
use em_embed::setup::hub::sha256;

use super::placement::Placement;
use crate::inputs;

/// Settings of the job that change results or help to find it again. A closed list: a user's environment holds secrets.
const KEPT: [&str; 19] = [
    "SLURM_CLUSTER_NAME",
    "SLURM_JOB_PARTITION",
    "SLURM_JOB_NODELIST",
    "SLURM_JOB_NUM_NODES",
    "SLURM_JOB_ACCOUNT",
    "SLURM_JOB_QOS",
    "SLURM_RESTART_COUNT",
    "SLURM_CPUS_PER_TASK",
    "SLURM_CPUS_ON_NODE",
    "SLURM_JOB_CPUS_PER_NODE",
    "SLURM_MEM_PER_NODE",
    "SLURM_MEM_PER_CPU",
    "SLURM_MEM_PER_GPU",
    "SLURM_TRES_PER_TASK",
    "SLURM_GPUS",
    "SLURM_GPUS_ON_NODE",
    "SLURM_JOB_GPUS",
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
];

/// Weights of a model that a folder of the user's holds; the store names its models' hashes by the same file.
const WEIGHTS: &str = "model.safetensors";

pub(crate) async fn fill(plan: &Plan, placement: &Placement) -> Environment {
    let mut environment = em_telemetry::environment();
    environment.agent_revision = option_env!("EM_REVISION").filter(|revision| !revision.is_empty()).map(str::to_owned);
    environment.model_sha256 = match &plan.model.path {
        Some(folder) => {
            let weights = Path::new(folder).join(WEIGHTS);
            tokio::task::spawn_blocking(move || sha256(&weights).ok()).await.ok().flatten()
        }
        None => {
            let model = inputs::find(Path::new(&plan.store_dir), EntryKind::Model, &key_of(&plan.model));
            model.ok().map(|(entry, _)| entry.sha256)
        }
    };
    environment.extra.insert("placement".to_owned(), placement.describe());
    for name in KEPT {
        if let Ok(value) = std::env::var(name) {
            environment.extra.insert(name.to_ascii_lowercase(), value);
        }
    }
    environment
}

/// The name of this node as Slurm knows it, else its own.
pub(crate) fn node() -> String {
    std::env::var("SLURMD_NODENAME").unwrap_or_else(|_| rustix::system::uname().nodename().to_string_lossy().into_owned())
}
