//! The fields of an experiment's `spec`, complete: an absent field of what a user posted has its default here.
//! Admission (in the server) parses what users write, with all errors at once; these types are what it produces.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::HumanDuration;

mod load;
mod slurm;

pub use load::{Arrival, FindMax, Load, LoadLevel, Matrix, Placement, Ramp, ServiceScope, TokenRange, Wire};
pub use slurm::{ShardBy, Slurm, SlurmTime};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    pub desired: Desired,
    pub model: Model,
    pub dataset: Dataset,
    /// After expansion of sweeps each entry is one variant with a unique name.
    pub backends: Vec<Backend>,
    pub matrix: Matrix,
    pub load: Load,
    pub checks: Checks,
    pub slo: Option<Slo>,
    pub cost: Option<Cost>,
    pub slurm: Slurm,
    /// Jobs that may fail before a shard is given up.
    pub retries: u32,
    /// Continuations (time limit, preemption, node failure) of a shard.
    pub max_continuations: u32,
    pub retry_trials: bool,
    pub priority: i64,
    pub ttl: Option<HumanDuration>,
    pub logs_ttl: HumanDuration,
    /// A GPU job never downloads unless this is set.
    pub allow_download: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Desired {
    Run,
    Suspended,
    Cancelled,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Model {
    /// Hugging Face id, for example `sentence-transformers/all-MiniLM-L6-v2`.
    pub id: String,
    pub revision: String,
    /// A folder with safetensors, visible on the compute nodes; overrides the store.
    pub path: Option<String>,
    pub pooling: Pooling,
    pub normalize: bool,
    pub dtype: Dtype,
    /// Tokens a text is cut to; absent: what the model's own files say.
    pub max_length: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    Mean,
    Cls,
    Last,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    Float32,
    Float16,
    Bfloat16,
    Int8,
}

impl Dtype {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Float16 => "float16",
            Self::Bfloat16 => "bfloat16",
            Self::Int8 => "int8",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dataset {
    pub source: DatasetSource,
    pub path: Option<String>,
    /// Texts loaded; drawn without replacement in the order of `seed`.
    pub limit: u64,
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum DatasetSource {
    Msmarco,
    Wordnet,
    Tsv,
    Jsonl,
    Parquet,
    Text,
}

impl DatasetSource {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Msmarco => "msmarco",
            Self::Wordnet => "wordnet",
            Self::Tsv => "tsv",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
            Self::Text => "text",
        }
    }
}

/// One backend variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backend {
    /// RFC 1123 label, unique in the experiment.
    pub name: String,
    #[serde(rename = "type")]
    pub kind: BackendKind,
    pub device: Device,
    /// Overrides `model.dtype` for this variant.
    pub dtype: Option<Dtype>,
    /// Passed through to the server's command line.
    pub args: Vec<String>,
    pub env: BTreeMap<String, String>,
    /// A user's own interpreter (conda, venv) instead of the store's environment.
    pub python: Option<String>,
    /// A whole command line instead of ours; `{port}` and `{model}` are replaced.
    pub command: Option<Vec<String>>,
    /// `openai` and `tei`: a server that already runs; nothing is started.
    pub url: Option<String>,
    /// A file on the node that holds the bearer token which requests must carry.
    pub api_key_file: Option<String>,
    /// An environment variable of the job that holds it instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// `tei`: the server's own program, where `text-embeddings-router` is not in the job's PATH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<String>,
    /// `tei`: the container image that holds its program; run by apptainer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Largest batch that the server forms by itself, where it has such a knob.
    pub batch: Option<u32>,
    pub start_timeout: HumanDuration,
    pub parity: ParityGate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    Ort,
    Vllm,
    Huggingface,
    Tei,
    Openai,
}

impl BackendKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ort => "ort",
            Self::Vllm => "vllm",
            Self::Huggingface => "huggingface",
            Self::Tei => "tei",
            Self::Openai => "openai",
        }
    }

    /// The proof of concept's ports, used when free.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Huggingface => 8000,
            Self::Vllm => 8001,
            Self::Ort => 8002,
            Self::Tei => 8003,
            Self::Openai => 8004,
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Device {
    Cuda,
    Cpu,
}

/// `parity: report` or `parity: {minCosine: 0.999}`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ParityGate {
    /// Measured and shown, never a failure.
    Report,
    #[serde(untagged)]
    MinCosine {
        #[serde(rename = "minCosine")]
        min_cosine: f64,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Checks {
    pub parity: ParityCheck,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParityCheck {
    /// Name of the backend whose vectors the others are held to.
    pub reference: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Slo {
    pub p99_ms: Option<f64>,
    pub success_rate: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cost {
    pub per_gpu_hour: f64,
    pub currency: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parity_gate_is_a_word_or_a_threshold() {
        let report: ParityGate = serde_json::from_str("\"report\"").expect("word");
        assert_eq!(report, ParityGate::Report);
        let gate: ParityGate = serde_json::from_str("{\"minCosine\":0.999}").expect("object");
        assert_eq!(serde_json::to_string(&gate).expect("json"), "{\"minCosine\":0.999}");
    }
}
