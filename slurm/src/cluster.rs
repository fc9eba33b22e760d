//! The cluster as a user sees it: partitions, nodes and what they have, and the limits that a submission can meet.

use std::collections::HashSet;

/// One look at the cluster. What could not be learned is absent, never zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// `ClusterName`.
    pub name: Option<String>,
    /// Slurm's version, `22.05.8`.
    pub version: Option<String>,
    pub partitions: Vec<Partition>,
    pub nodes: Vec<Node>,
    pub limits: Limits,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    pub name: String,
    /// Where jobs go that name none.
    pub default: bool,
    /// Slurm's word: `UP`, `DOWN`, `DRAIN`, `INACTIVE`.
    pub state: String,
    /// Longest time limit in minutes; absent: `UNLIMITED`.
    pub max_time_minutes: Option<u32>,
    /// Time limit of jobs that name none, in minutes.
    pub default_time_minutes: Option<u32>,
    /// Names of its nodes.
    pub nodes: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    /// Slurm's words, `IDLE` or `MIXED+DRAIN`.
    pub state: String,
    /// Why it is down or drained.
    pub reason: Option<String>,
    pub cpus: u32,
    pub cpus_allocated: u32,
    pub memory_mb: u64,
    pub memory_allocated_mb: u64,
    /// One entry for each kind and type.
    pub gres: Vec<Gres>,
    pub features: Vec<String>,
}

/// A generic resource of one node (gres.conf(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gres {
    /// `gpu`, `shard`, …
    pub kind: String,
    /// `l40s`; absent for untyped ones.
    pub model: Option<String>,
    pub count: u64,
    pub used: u64,
}

/// Limits of the cluster and of our account, as far as they can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `MaxJobCount`: jobs that the controller holds at one time, everybody's.
    pub max_job_count: Option<u32>,
    /// `MaxArraySize`.
    pub max_array_size: Option<u32>,
    /// `MinJobAge`, seconds that a finished job stays in the listing.
    pub min_job_age_seconds: Option<u32>,
    /// `MessageTimeout`, seconds.
    pub message_timeout_seconds: Option<u32>,
    /// Least `MaxSubmitJobs` of our associations; absent without accounting or without such a limit.
    pub max_submit_jobs: Option<u32>,
    /// Whether the cluster keeps accounting (`AccountingStorageType`).
    pub accounting: Option<bool>,
}

impl ClusterView {
    pub fn partition(&self, name: &str) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.name == name)
    }

    /// Where jobs go that name none.
    pub fn default_partition(&self) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.default)
    }

    pub fn nodes_of<'a>(&'a self, partition: &'a Partition) -> impl Iterator<Item = &'a Node> {
        let names: HashSet<&str> = partition.nodes.iter().map(String::as_str).collect();
        self.nodes.iter().filter(move |node| names.contains(node.name.as_str()))
    }
}

impl Partition {
    /// Whether it takes jobs and starts them; `DOWN` takes and does not start them (slurm.conf(5), `State`). Not told: counts as up.
    pub fn up(&self) -> bool {
        matches!(self.state.as_str(), "UP" | "")
    }
}

impl Node {
    /// Whether jobs can start there, as far as its state tells. Words that we do not know count as usable.
    pub fn usable(&self) -> bool {
        let out = [
            "DOWN",
            "DRAIN",
            "DRAINED",
            "DRAINING",
            "FAIL",
            "FAILING",
            "ERROR",
            "UNKNOWN",
            "FUTURE",
            "MAINT",
            "NOT_RESPONDING",
            "INVAL",
            "INVALID_REG",
        ];
        // `*`: does not respond.
        !self.state.contains('*')
            && !self.state.split('+').any(|word| out.contains(&word.trim_end_matches(|sign: char| !sign.is_ascii_alphanumeric())))
    }
}
