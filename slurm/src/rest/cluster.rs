//! The cluster as slurmrestd shows it: `GET /nodes`, `GET /partitions` and, since v0.0.45, `GET /conf`. v0.0.39 to v0.0.44 do not tell
//! which partition is the default one, v0.0.39 no states of partitions, and before v0.0.45 there are no limits.

use serde::Deserialize;

use super::RestScheduler;
use super::answer::{read_error, unreadable};
use super::json::{Number, Words, present, text};
use super::version::Version;
use crate::cluster::{ClusterView, Limits, Node, Partition};
use crate::gres::of_node;
use crate::node_list::expand_node_list;
use crate::scheduler::ReadError;

pub(super) async fn view(slurm: &RestScheduler) -> Result<ClusterView, ReadError> {
    let (_, nodes) = slurm.get(|version| format!("/slurm/{version}/nodes")).await.map_err(read_error)?;
    let nodes: Nodes = parse(&slurm.body(Ok(nodes)).await?)?;
    let (version, partitions) = slurm.get(|version| format!("/slurm/{version}/partitions")).await.map_err(read_error)?;
    let partitions: Partitions = parse(&slurm.body(Ok(partitions)).await?)?;
    let mut view = ClusterView { version: nodes.release(), name: nodes.meta.slurm.cluster.clone(), ..joined(nodes, partitions) };
    if version.has_configuration() {
        let (_, answer) = slurm.get(|version: Version| format!("/slurm/{version}/conf")).await.map_err(read_error)?;
        let configuration: Configuration = parse(&slurm.body(Ok(answer)).await?)?;
        view.name = configuration.slurm_conf.name.clone().or(view.name);
        view.limits = configuration.slurm_conf.into();
    }
    Ok(view)
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ReadError> {
    serde_json::from_slice(body).map_err(|error| unreadable(&error))
}

fn joined(nodes: Nodes, partitions: Partitions) -> ClusterView {
    let members = |partition: &PartitionRecord| {
        let ours = nodes.nodes.iter().filter(|node| node.partitions.0.contains(&partition.name));
        let ours: Vec<String> = ours.map(|node| node.name.clone()).collect();
        // Nodes of v0.0.36 do not say where they belong.
        if ours.is_empty() {
            partition.nodes.as_str().and_then(|list| expand_node_list(list).ok()).unwrap_or_default()
        } else {
            ours
        }
    };
    let partitions = partitions.partitions.into_iter().map(|partition| {
        let nodes = members(&partition);
        partition.read(nodes)
    });
    let partitions = partitions.collect();
    ClusterView { partitions, nodes: nodes.nodes.into_iter().map(Node::from).collect(), ..ClusterView::default() }
}

#[derive(Deserialize)]
struct Nodes {
    nodes: Vec<NodeRecord>,
    #[serde(default)]
    meta: Meta,
}

#[derive(Default, Deserialize)]
struct Meta {
    #[serde(default, alias = "Slurm")]
    slurm: MetaSlurm,
}

#[derive(Default, Deserialize)]
struct MetaSlurm {
    #[serde(default)]
    release: Option<String>,
    #[serde(default)]
    cluster: Option<String>,
}

impl Nodes {
    /// slurmrestd's own, which is that of a release together with the controller's.
    fn release(&self) -> Option<String> {
        self.meta.slurm.release.clone()
    }
}

#[derive(Deserialize)]
struct NodeRecord {
    name: String,
    #[serde(default)]
    state: Words,
    /// Up to v0.0.38 beside the state, afterwards in it.
    #[serde(default)]
    state_flags: Words,
    #[serde(default, deserialize_with = "text")]
    reason: String,
    #[serde(default)]
    cpus: Number,
    #[serde(default)]
    alloc_cpus: Number,
    #[serde(default)]
    real_memory: Number,
    #[serde(default)]
    alloc_memory: Number,
    #[serde(default, deserialize_with = "text")]
    gres: String,
    #[serde(default, deserialize_with = "text")]
    gres_used: String,
    #[serde(default)]
    features: Words,
    #[serde(default)]
    partitions: Words,
}

impl From<NodeRecord> for Node {
    fn from(node: NodeRecord) -> Self {
        let words = node.state.0.into_iter().chain(node.state_flags.0).filter(|word| !word.is_empty());
        let features = node.features.0.iter().flat_map(|features| features.split(','));
        Self {
            name: node.name,
            state: words.map(|word| word.to_ascii_uppercase()).collect::<Vec<_>>().join("+"),
            reason: present(node.reason),
            cpus: node.cpus.small().unwrap_or(0),
            cpus_allocated: node.alloc_cpus.small().unwrap_or(0),
            memory_mb: node.real_memory.unsigned().unwrap_or(0),
            memory_allocated_mb: node.alloc_memory.unsigned().unwrap_or(0),
            gres: of_node(&node.gres, &node.gres_used),
            features: features.filter(|feature| !feature.is_empty()).map(str::to_owned).collect(),
        }
    }
}

#[derive(Deserialize)]
struct Partitions {
    partitions: Vec<PartitionRecord>,
}

/// Up to v0.0.38 flat, afterwards in groups.
#[derive(Deserialize)]
struct PartitionRecord {
    name: String,
    #[serde(default)]
    flags: Words,
    /// A node list up to v0.0.38.
    #[serde(default)]
    nodes: serde_json::Value,
    #[serde(default)]
    state: Words,
    /// The state of v0.0.36, whose name is a mistake: bit 0 takes jobs, bit 1 starts them.
    #[serde(default)]
    nodes_online: Number,
    #[serde(default)]
    max_time_limit: Number,
    #[serde(default)]
    default_time_limit: Number,
    #[serde(default)]
    partition: Option<PartitionState>,
    #[serde(default)]
    maximums: Option<Times>,
    #[serde(default)]
    defaults: Option<Times>,
}

#[derive(Deserialize)]
struct PartitionState {
    #[serde(default)]
    state: Words,
}

#[derive(Deserialize)]
struct Times {
    #[serde(default)]
    time: Number,
}

impl PartitionRecord {
    fn read(self, nodes: Vec<String>) -> Partition {
        let state = self.partition.map_or(self.state, |partition| partition.state);
        let state = match self.nodes_online.0 {
            Some(0) => "INACTIVE".to_owned(),
            Some(1) => "DOWN".to_owned(),
            Some(2) => "DRAIN".to_owned(),
            Some(3) => "UP".to_owned(),
            _ => state.0.join("+"),
        };
        let max = self.maximums.map_or(self.max_time_limit, |times| times.time);
        let default = self.defaults.map_or(self.default_time_limit, |times| times.time);
        Partition {
            name: self.name,
            default: self.flags.0.iter().any(|flag| flag.eq_ignore_ascii_case("default")),
            state,
            max_time_minutes: max.small(),
            // v0.0.36 has 0 for all.
            default_time_minutes: default.small().filter(|minutes| *minutes > 0),
            nodes,
        }
    }
}

#[derive(Deserialize)]
struct Configuration {
    slurm_conf: SlurmConf,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SlurmConf {
    #[serde(default, rename = "ClusterName")]
    name: Option<String>,
    #[serde(default)]
    max_job_count: Number,
    #[serde(default)]
    max_array_size: Number,
    #[serde(default)]
    min_job_age: Number,
    #[serde(default)]
    message_timeout: Number,
    #[serde(default, deserialize_with = "text")]
    accounting_storage_type: String,
}

impl From<SlurmConf> for Limits {
    fn from(conf: SlurmConf) -> Self {
        Self {
            max_job_count: conf.max_job_count.small(),
            max_array_size: conf.max_array_size.small(),
            min_job_age_seconds: conf.min_job_age.small(),
            message_timeout_seconds: conf.message_timeout.small(),
            max_submit_jobs: None,
            accounting: Some(!matches!(conf.accounting_storage_type.as_str(), "" | "accounting_storage/none")),
        }
    }
}
