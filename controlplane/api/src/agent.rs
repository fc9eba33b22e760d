//! What an agent and the control plane say to each other while a job runs.

use serde::{Deserialize, Serialize};

use crate::{AttemptId, Timestamp, TrialId};

/// `POST /agent/attempts/{id}/claim`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClaimRequest {
    pub attempt: AttemptId,
    pub slurm_job_id: String,
    /// `SLURM_RESTART_COUNT`; 0 for the first run of a job.
    pub restart_count: u32,
    /// Made anew by each agent process; the same nonce claims again without harm.
    pub boot_nonce: String,
    pub node: String,
    pub version: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClaimAnswer {
    pub epoch: u32,
    pub directive: Directive,
}

/// What the agent shall do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Directive {
    Continue,
    /// Finish the running trial, start no other.
    Drain,
    /// Stop at once.
    Cancel,
}

/// `POST /agent/attempts/{id}/records`. An empty batch is a heartbeat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RecordBatch {
    pub epoch: u32,
    pub records: Vec<Record>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RecordAnswer {
    pub directive: Directive,
}

/// A line of the agent's stream. Key: (attempt, epoch, seq); the first accepted wins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Record {
    pub seq: u64,
    pub at: Timestamp,
    #[serde(flatten)]
    pub body: RecordBody,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum RecordBody {
    /// The agent enters a phase. `trial` is set from warm-up to the end of measuring.
    Phase {
        phase: AgentPhase,
        message: String,
        #[serde(default)]
        trial: Option<TrialId>,
        #[serde(default)]
        backend: Option<String>,
    },
    Log {
        /// `agent`, `service` or `load`.
        stream: String,
        #[serde(default)]
        trial: Option<TrialId>,
        #[serde(default)]
        backend: Option<String>,
        line: String,
    },
    /// Once a second while measuring.
    Sample(Sample),
    /// Vectors of the 200 parity texts, once per start of a service.
    Parity(ParityVectors),
    /// The agent's Prometheus exposition, every 5 s; the last one is relayed.
    Exposition { text: String },
    /// The last record of an epoch.
    Farewell { message: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum AgentPhase {
    Preflight,
    LoadingTexts,
    StartingService,
    Parity,
    WarmUp,
    Measuring,
    StoppingService,
    Done,
    Draining,
}

impl AgentPhase {
    pub fn describe(self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::LoadingTexts => "loading texts",
            Self::StartingService => "starting service",
            Self::Parity => "checking vectors",
            Self::WarmUp => "warming up",
            Self::Measuring => "measuring",
            Self::StoppingService => "stopping service",
            Self::Done => "done",
            Self::Draining => "draining",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Sample {
    pub trial: TrialId,
    pub elapsed_s: f64,
    pub texts_per_s: f64,
    pub requests_per_s: f64,
    pub errors: u64,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub cpu_cores: Option<f64>,
    pub memory_bytes: Option<u64>,
    /// 0..1, mean over the job's GPUs.
    pub gpu_utilization: Option<f64>,
}

/// `[count, dim]` f32, row-major, little-endian, base64 (standard alphabet).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ParityVectors {
    pub backend: String,
    pub repetition: u32,
    pub dim: u32,
    pub count: u32,
    /// SHA-256 over the texts, each followed by a NUL: equal hashes mean comparable vectors.
    pub texts_sha256: String,
    pub vectors: String,
}
