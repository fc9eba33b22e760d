//! What the server says of an experiment: phase, conditions, trials, jobs, events. Users never write these.

use serde::{Deserialize, Serialize};

use crate::results::Verdict;
use crate::spec::LoadLevel;
use crate::{AttemptId, BlockId, Timestamp, TrialId};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub phase: Phase,
    pub observed_generation: u64,
    /// One sentence: what is going on, or why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(default)]
    pub conditions: Vec<Condition>,
    pub trials: TrialCounts,
    #[serde(default)]
    pub jobs: Vec<Job>,
    /// What the agent last said about the trial that it measures now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Live>,
    /// Expected run time of the whole experiment, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_seconds: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Phase {
    Pending,
    Preparing,
    Submitting,
    Queued,
    Running,
    Collecting,
    Succeeded,
    Failed,
    Cancelled,
    Suspended,
}

impl Phase {
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::Preparing,
        Self::Submitting,
        Self::Queued,
        Self::Running,
        Self::Collecting,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Suspended,
    ];

    pub fn ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Preparing => "Preparing",
            Self::Submitting => "Submitting",
            Self::Queued => "Queued",
            Self::Running => "Running",
            Self::Collecting => "Collecting",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
            Self::Suspended => "Suspended",
        }
    }
}

/// As a Kubernetes condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: ConditionType,
    pub status: ConditionStatus,
    /// CamelCase word for programs.
    pub reason: String,
    /// Sentence for people, with the cure where there is one.
    pub message: String,
    pub last_transition_time: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ConditionType {
    Accepted,
    InputsReady,
    SchedulerReachable,
    Queued,
    Throttled,
    AgentSilent,
    /// A step of this experiment keeps failing or takes too long; it is tried again by itself.
    Stalled,
    /// Logs and job directories are gone, after `logsTtl`.
    LogsRemoved,
    Complete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TrialCounts {
    pub total: u64,
    pub pending: u64,
    pub running: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub interrupted: u64,
    /// Among the succeeded: measured, but the measurement does not count.
    pub invalid: u64,
    /// Among the succeeded: measured, but it proves nothing.
    pub inconclusive: u64,
}

/// One attempt and its Slurm job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Slurm's id; absent until the submission is proven.
    pub id: Option<String>,
    pub name: String,
    pub cluster: Option<String>,
    pub node: Option<String>,
    /// Slurm's word, kept as it came (`PENDING`, `RUNNING`, …); `SUBMITTING` before there is one.
    pub state: String,
    pub attempt_id: AttemptId,
    /// 1 for the first job of a shard.
    pub attempt: u32,
    pub epoch: u32,
    /// Slurm's pending reason, or why the attempt ended.
    pub reason: Option<String>,
    pub expected_start: Option<Timestamp>,
    pub submitted_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub exit_code: Option<i32>,
}

/// Live view of the running trial, from the agent's last records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Live {
    pub at: Timestamp,
    /// What the agent does: `preflight`, `starting service`, `parity`, `warm-up`, `measuring`, …
    pub phase: String,
    pub trial: Option<TrialId>,
    pub backend: Option<String>,
    pub batch_size: Option<u32>,
    pub texts_per_second: Option<f64>,
    pub latency_p50_ms: Option<f64>,
    pub latency_p99_ms: Option<f64>,
    pub cpu_cores: Option<f64>,
    pub memory_bytes: Option<u64>,
    pub gpu_utilization: Option<f64>,
    /// Of the whole experiment, as far as it can be told.
    pub seconds_left: Option<u64>,
}

/// One row of `GET /experiments/{name}/trials`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    pub id: TrialId,
    pub block: BlockId,
    pub backend: String,
    pub batch_size: u32,
    pub load: LoadLevel,
    pub repetition: u32,
    pub phase: TrialPhase,
    pub attempt: Option<AttemptId>,
    pub epoch: Option<u32>,
    /// `ServiceStartFailed`, `LoadFailed`, …; for failed trials.
    pub reason: Option<String>,
    pub message: Option<String>,
    /// End of the service's log, for trials that failed.
    pub log_tail: Option<String>,
    pub verdict: Option<Verdict>,
    pub texts_per_second: Option<f64>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum TrialPhase {
    Pending,
    Running,
    Succeeded,
    Failed,
    Interrupted,
}

impl TrialPhase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Interrupted => "Interrupted",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TrialList {
    pub items: Vec<Trial>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobList {
    pub items: Vec<Job>,
}

/// What happened to an experiment, for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Event {
    pub seq: u64,
    pub at: Timestamp,
    #[serde(rename = "type")]
    pub kind: EventType,
    /// `user:NAME`, `reconciler`, `agent`.
    pub who: String,
    /// CamelCase word for programs.
    pub reason: String,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum EventType {
    Normal,
    Warning,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EventList {
    pub items: Vec<Event>,
}

/// One line of `GET /experiments/{name}/logs` (NDJSON; with `follow=true` the stream stays open).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    /// Position in the experiment's log; `?after=` resumes behind it.
    pub seq: u64,
    pub at: Timestamp,
    /// `agent`, `service`, `load`.
    pub stream: String,
    pub backend: Option<String>,
    pub trial: Option<TrialId>,
    pub line: String,
}
