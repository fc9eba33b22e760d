//! `GET /cluster`: what the cluster has, what of it is free, and its limits, as Slurm told lately.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// Slurm's `ClusterName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Slurm's version, `22.05.8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When Slurm said all this.
    pub observed_at: Timestamp,
    pub age_seconds: u64,
    /// Why there is nothing newer, where the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    pub partitions: Vec<Partition>,
    pub nodes: Vec<Node>,
    pub limits: Limits,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Partition {
    pub name: String,
    /// Where jobs go that name none.
    pub default: bool,
    /// Slurm's word: `UP`, `DOWN`, `DRAIN`, `INACTIVE`.
    pub state: String,
    /// Longest time limit; absent: unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_time_minutes: Option<u32>,
    /// Time limit of jobs that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_time_minutes: Option<u32>,
    pub nodes_total: usize,
    /// Usable, and with no CPU allocated.
    pub nodes_free: usize,
    pub cpus_total: u64,
    pub cpus_free: u64,
    /// Of all its nodes together, one entry a kind and type.
    pub gres: Vec<GresTotal>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct GresTotal {
    /// `gpu`, `shard`, …
    pub kind: String,
    /// `l40s`; absent for untyped ones.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    pub total: u64,
    /// On nodes where jobs can start now.
    pub free: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Node {
    pub name: String,
    /// Slurm's words, `IDLE` or `MIXED+DRAIN`.
    pub state: String,
    /// Whether jobs can start there, by its state.
    pub usable: bool,
    /// Why it is down or drained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub partitions: Vec<String>,
    pub cpus: u32,
    pub cpus_allocated: u32,
    pub memory_mb: u64,
    pub memory_allocated_mb: u64,
    pub gres: Vec<NodeGres>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeGres {
    pub kind: String,
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    pub count: u64,
    pub used: u64,
}

/// As slurm.conf(5) and sacctmgr(1) name them; absent: not known, or no limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_job_count: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_array_size: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_job_age_seconds: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_timeout_seconds: Option<u32>,
    /// Of the account that the server runs as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_submit_jobs: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounting: Option<bool>,
}
