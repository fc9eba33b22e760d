//! `plan.json`: what one job is told to do. Written by the control plane into the job directory (mode 0600), read by the
//! agent; complete, so that an agent needs nothing else to run, even with the server away.

use serde::{Deserialize, Serialize};

use crate::spec::{Backend, Dataset, Load, LoadLevel, Model};
use crate::{AttemptId, BlockId, ExperimentUid, HumanDuration, ShardId, TrialId};

pub const PLAN_FILE: &str = "plan.json";
/// Beside the plan of a run without a server: the complete experiment, for `emctl import`.
pub const EXPERIMENT_FILE: &str = "experiment.json";
/// Beside the plan, mode 0600: the attempt's bearer token. Not there for a run without a server.
pub const TOKEN_FILE: &str = "token";
/// Folder of what the agent hands in: `e{epoch}/measurement-{trial}.json`, `e{epoch}/records.jsonl`.
pub const SPOOL_DIR: &str = "spool";
/// Folder in which `mkdir claims/{epoch}` decides a claim while the server cannot be reached.
pub const CLAIMS_DIR: &str = "claims";
/// Written by the job script at its end, one line: the agent's exit code, how often Slurm restarted the job, seconds since 1970.
pub const WITNESS_FILE: &str = "exit-code";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    pub api_version: String,
    pub experiment: String,
    pub experiment_uid: ExperimentUid,
    pub shard: ShardId,
    pub attempt: AttemptId,
    pub attempt_number: u32,
    /// Absent: a run without a server (`emctl script --standalone`). The job directory keeps what is measured.
    #[serde(default)]
    pub server: Option<Server>,
    /// The input store (models, data sets, environments), an absolute path.
    pub store_dir: String,
    pub model: Model,
    pub dataset: Dataset,
    pub load: Load,
    /// All variants of the experiment, by name.
    pub backends: Vec<Backend>,
    /// Whether the job asked Slurm for GPUs: then as many must be visible, before any trial.
    pub gpus_expected: bool,
    /// In order of execution; one service is up at a time.
    pub services: Vec<ServiceRun>,
    /// W3C trace context of the submission.
    #[serde(default)]
    pub traceparent: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// Base address that agents dial, for example `http://127.0.0.1:8080`.
    pub url: String,
    /// SHA-256 of the server's certificate authority, hex; absent for plain HTTP on loopback.
    pub ca_sha256: Option<String>,
    /// Without an answer for this long a claim is decided in the job directory.
    pub claim_timeout: HumanDuration,
}

/// One start of one backend, and the trials measured on it in this order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ServiceRun {
    pub backend: String,
    pub repetition: u32,
    pub trials: Vec<PlannedTrial>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PlannedTrial {
    pub id: TrialId,
    pub block: BlockId,
    pub batch_size: u32,
    pub load: LoadLevel,
    /// Where in the seeded order of texts this trial begins: the same for all backends of a block.
    pub text_offset: u64,
}
