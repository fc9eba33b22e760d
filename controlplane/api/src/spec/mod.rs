//! The fields of an experiment's `spec`, complete: an absent field of what a user posted has its default here.
//! Admission (in the server) parses what users write, with all errors at once; these types are what it produces.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::HumanDuration;

mod slurm;

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

/// The axes beside the backends. Exactly one load axis is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Matrix {
    /// Texts per request.
    pub batch_sizes: Vec<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Vec<u32>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_rate: Option<Vec<f64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_rate: Option<Vec<f64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub find_max: Option<FindMax>,
}

impl Matrix {
    /// The levels of the one load axis that is set.
    pub fn levels(&self) -> Vec<LoadLevel> {
        let concurrency = self.concurrency.iter().flatten().map(|users| LoadLevel::Concurrency(*users));
        let requests = self.request_rate.iter().flatten().map(|rate| LoadLevel::RequestRate(*rate));
        let texts = self.text_rate.iter().flatten().map(|rate| LoadLevel::TextRate(*rate));
        concurrency.chain(requests).chain(texts).chain(self.find_max.map(LoadLevel::FindMax)).collect()
    }
}

/// Each trial searches the largest request rate whose p99 latency stays within the limit, by at most
/// [`MOST_PROBES`](FindMax::MOST_PROBES) open-loop probes.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FindMax {
    /// Of latency from the planned send time; a failed request counts as over it.
    pub p99_ms: f64,
    /// Length of one probe.
    pub probe: HumanDuration,
}

impl FindMax {
    /// Of one trial.
    pub const MOST_PROBES: u32 = 12;
}

/// One load level of a cell.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum LoadLevel {
    /// Closed loop: requests in flight.
    Concurrency(u32),
    /// Open loop: requests per second.
    RequestRate(f64),
    /// Open loop: texts per second.
    TextRate(f64),
    /// Open loop: the largest rate that meets a limit is searched.
    FindMax(FindMax),
}

impl LoadLevel {
    /// The part of a file name: `c10`, `rate250`, `textrate4000`, `max50ms`.
    pub fn file_tag(self) -> String {
        match self {
            Self::Concurrency(users) => format!("c{users}"),
            Self::RequestRate(rate) => format!("rate{rate}"),
            Self::TextRate(rate) => format!("textrate{rate}"),
            Self::FindMax(search) => format!("max{}ms", search.p99_ms),
        }
    }
}

impl fmt::Display for LoadLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Concurrency(users) => write!(f, "concurrency {users}"),
            Self::RequestRate(rate) => write!(f, "{rate} requests/s"),
            Self::TextRate(rate) => write!(f, "{rate} texts/s offered"),
            Self::FindMax(search) => write!(f, "largest rate with p99 ≤ {} ms", search.p99_ms),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Load {
    /// Measured window of one trial.
    pub duration: HumanDuration,
    pub warmup: HumanDuration,
    pub repetitions: u32,
    pub arrival: Arrival,
    /// Open loop: the rate climbs or falls while the window is measured.
    #[serde(default)]
    pub ramp: Option<Ramp>,
    /// Open loop: send times (and lengths) of a file, in place of a rate; an absolute path, visible on the compute nodes.
    #[serde(default)]
    pub trace: Option<String>,
    /// Only texts of this many tokens (estimated as words when no tokenizer is at hand).
    pub text_tokens: Option<TokenRange>,
    pub wire: Wire,
    /// A request older than this is counted as timed out.
    pub timeout: HumanDuration,
    /// A window is extended, up to three times its length, until it holds so many requests.
    pub min_requests: u64,
    pub service: ServiceScope,
    pub placement: Placement,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Arrival {
    Constant,
    Poisson,
}

/// A rate in the unit of the matrix's axis: `from` until the window opens, then in a straight line to `to`, which it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Ramp {
    pub from: f64,
    pub to: f64,
    pub over: HumanDuration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TokenRange {
    pub min: u32,
    pub max: u32,
}

/// What a request and its answer look like; the same for all backends of an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Wire {
    OpenaiFloat,
    OpenaiBase64,
    Embed,
    Tei,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum ServiceScope {
    PerRepetition,
    PerTrial,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum Placement {
    SameNode,
    SeparateNode,
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
