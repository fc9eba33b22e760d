//! What the job directories and Slurm say of the jobs of an experiment.

use std::collections::BTreeMap;
use std::path::Path;

use em_api::plan::Plan;
use em_api::{AttemptId, ShardId};
use em_e2e::Cluster;
use serde_json::Value;

/// One attempt that a job directory was written for.
pub(crate) struct AttemptDir {
    pub(crate) attempt: AttemptId,
    /// Epochs in order, each with the Slurm job that claimed it.
    pub(crate) claims: Vec<(u32, String)>,
}

/// All attempts of all experiments, by shard.
pub(crate) fn attempts(job_dir: &Path) -> BTreeMap<ShardId, Vec<AttemptDir>> {
    let mut shards: BTreeMap<ShardId, Vec<AttemptDir>> = BTreeMap::new();
    for experiment in folders(job_dir) {
        for dir in folders(&experiment) {
            let Ok(text) = std::fs::read_to_string(dir.join("plan.json")) else { continue };
            let plan: Plan = serde_json::from_str(&text).expect("a plan");
            let mut claims: Vec<(u32, String)> = folders(&dir.join("claims")).iter().map(|claim| claim_of(claim)).collect();
            claims.sort();
            shards.entry(plan.shard).or_default().push(AttemptDir { attempt: plan.attempt, claims });
        }
    }
    shards
}

fn claim_of(folder: &Path) -> (u32, String) {
    let epoch = folder.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok()).expect("an epoch");
    let text = std::fs::read_to_string(folder.join("claim.json")).expect("who holds it");
    let claim: Value = serde_json::from_str(&text).expect("a claim");
    (epoch, claim["slurm_job_id"].as_str().expect("a job").to_owned())
}

fn folders(dir: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_dir()).collect()
}

/// Live jobs: id, name, state word.
pub(crate) fn live(cluster: &Cluster) -> Vec<(String, String, String)> {
    let text = cluster.slurm("squeue", &["-h", "-o", "%i|%j|%T"]);
    let field = |line: &str, index: usize| line.split('|').nth(index).unwrap_or_default().to_owned();
    text.lines().map(|line| (field(line, 0), field(line, 1), field(line, 2))).collect()
}
