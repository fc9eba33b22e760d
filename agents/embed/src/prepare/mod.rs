//! `em-agent model prepare`: a Hugging Face or sentence-transformers folder becomes an ONNX graph with pooling and
//! normalisation inside, written in Rust from the safetensors, so that our service needs no Python. A graph is made for one
//! device and dtype; it lies in the model's folder under `onnx/`, with a small JSON beside it that says what it was made from.

mod bert;
mod modern;
mod onnx;
mod packed;
mod source;
mod store;

use std::path::{Path, PathBuf};

use em_api::spec::{Device, Dtype, Pooling};
use serde::{Deserialize, Serialize};

use onnx::{Float, ModelProto};
pub(crate) use packed::MOST_TOKENS_OF_A_RUN;
use source::Architecture;
pub use source::SourceError;
pub use store::{StoreError, model_dir};

/// Raised when the graph that we write changes: older graphs are then written anew.
pub const GRAPH_VERSION: u32 = 6;

#[derive(Clone, Debug, clap::Args)]
pub struct PrepareArgs {
    /// Model id (for example sentence-transformers/all-MiniLM-L6-v2) or a folder with config.json and model.safetensors.
    pub model: String,
    /// The input store that holds the model; needed for an id.
    #[arg(long, env = "EM_STORE")]
    pub store: Option<PathBuf>,
    #[arg(long, default_value = "main")]
    pub revision: String,
    /// mean, cls or last; default: what the model's own files say.
    #[arg(long, value_parser = crate::prepare::parse_pooling)]
    pub pooling: Option<Pooling>,
    /// Leave the vectors as pooled, without L2 normalisation.
    #[arg(long)]
    pub no_normalize: bool,
    /// cpu or cuda: what the graph is for.
    #[arg(long, default_value = "cpu", value_parser = parse_device)]
    pub device: Device,
    /// float32 or, on cuda, float16 (fp32, fp16 for short).
    #[arg(long, default_value = "float32", value_parser = parse_dtype)]
    pub dtype: Dtype,
    /// Write the graph even if an up-to-date one is there.
    #[arg(long)]
    pub force: bool,
}

/// How the graph is to end, and whether to write it in any case.
#[derive(Clone, Copy, Debug)]
pub struct PrepareOptions {
    /// `None`: what the model's own files say, mean if they are silent.
    pub pooling: Option<Pooling>,
    pub normalize: bool,
    pub target: Target,
    pub force: bool,
}

impl Default for PrepareOptions {
    fn default() -> Self {
        Self { pooling: None, normalize: true, target: Target::default(), force: false }
    }
}

/// What a graph is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub device: Device,
    pub dtype: Dtype,
}

impl Default for Target {
    fn default() -> Self {
        Self { device: Device::Cpu, dtype: Dtype::Float32 }
    }
}

impl Target {
    pub(crate) fn device_name(self) -> &'static str {
        match self.device {
            Device::Cpu => "cpu",
            Device::Cuda => "cuda",
        }
    }

    fn float(self) -> Result<Float, PrepareError> {
        match self {
            Self { dtype: Dtype::Float32, .. } => Ok(Float::F32),
            Self { device: Device::Cuda, dtype: Dtype::Float16 } => Ok(Float::F16),
            _ => Err(PrepareError::Dtype(self)),
        }
    }
}

/// The JSON beside a graph: what it is and what it was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GraphInfo {
    pub graph_version: u32,
    /// Of model.safetensors, hex.
    pub source_sha256: String,
    pub source_bytes: u64,
    /// Seconds since 1970: with the size it spares hashing the weights at every start.
    pub source_modified: u64,
    pub model_type: String,
    pub pooling: Pooling,
    pub normalize: bool,
    /// Most tokens of a text, special tokens included.
    pub max_length: usize,
    /// Numbers of a vector.
    pub dim: usize,
    pub vocab_size: usize,
    pub target: Target,
    /// Tokens to either side that local layers see, where the model has such layers.
    pub window: Option<usize>,
}

#[derive(Clone, Debug)]
pub struct PreparedModel {
    pub graph: PathBuf,
    pub info: GraphInfo,
    /// False: an up-to-date graph was there already.
    pub written: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("no graph of {} on {}: float32 runs on both devices, float16 on cuda (the operators take no other)", .0.dtype.as_str(), .0.device_name())]
    Dtype(Target),
    #[error(
        "cannot write {}: make the model's folder writable for this account or prepare the model where it is",
        path.display()
    )]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// Prints where the graph is; an up-to-date graph is left alone.
pub fn run(args: PrepareArgs) -> anyhow::Result<()> {
    let dir = model_dir(&args.model, &args.revision, args.store.as_deref())?;
    let options = PrepareOptions {
        pooling: args.pooling,
        normalize: !args.no_normalize,
        target: Target { device: args.device, dtype: args.dtype },
        force: args.force,
    };
    let prepared = prepare_model(&dir, options)?;
    let what = if prepared.written { "wrote" } else { "up to date:" };
    let GraphInfo { pooling, normalize, max_length, dim, target, .. } = prepared.info;
    let normalised = if normalize { "normalised" } else { "not normalised" };
    println!(
        "{what} {} ({} pooling, {normalised}, {} on {}, {dim} dimensions, {max_length} tokens at most)",
        prepared.graph.display(),
        pooling_name(pooling),
        target.dtype.as_str(),
        target.device_name()
    );
    Ok(())
}

/// Writes `onnx/model.onnx` (or a variant: `model-cls.onnx`, `model-mean-raw.onnx`) into the model's folder unless it is up to date.
/// The files appear whole or not at all, so several processes may prepare the same folder at once.
pub fn prepare_model(dir: &Path, options: PrepareOptions) -> Result<PreparedModel, PrepareError> {
    let float = options.target.float()?;
    let folder = source::Folder::read(dir)?;
    let pooling = options.pooling.unwrap_or(folder.pooling);
    let graph = graph_path(dir, pooling, options.normalize, folder.pooling, options.target);
    let weights = folder.stamp()?;
    let existing = read_info(&graph).filter(|info| graph.is_file() && info.graph_version == GRAPH_VERSION);

    let mut info = GraphInfo {
        graph_version: GRAPH_VERSION,
        source_sha256: String::new(),
        source_bytes: weights.bytes,
        source_modified: weights.modified,
        model_type: folder.architecture.model_type().to_owned(),
        pooling,
        normalize: options.normalize,
        max_length: folder.max_length,
        dim: folder.architecture.dim(),
        vocab_size: folder.architecture.vocab_size(),
        target: options.target,
        window: folder.architecture.window(),
    };
    if let (Some(existing), false) = (&existing, options.force) {
        info.source_sha256.clone_from(&existing.source_sha256);
        if *existing == info {
            return Ok(PreparedModel { graph, info, written: false });
        }
    }

    let tensors = folder.tensors()?;
    info.source_sha256 = tensors.sha256();
    // Copied folders have new times: the same weights under another time need a new JSON only.
    let same = |old: &GraphInfo| GraphInfo { source_modified: info.source_modified, ..old.clone() } == info;
    if existing.as_ref().is_some_and(same) && !options.force {
        // In a read-only folder the weights are hashed again next time; the graph is good all the same.
        let _ = store::write_whole(&info_path(&graph), &info_json(&info));
        return Ok(PreparedModel { graph, info, written: false });
    }

    let normalize = options.normalize;
    let model = match (&folder.architecture, options.target.device) {
        (Architecture::Bert(config), Device::Cpu) => bert::model(config, &tensors, normalize)?,
        (Architecture::Bert(config), Device::Cuda) => packed::bert(config, &tensors, float, pooling, normalize)?,
        (Architecture::ModernBert(config), Device::Cpu) => modern::model(config, &tensors, pooling, normalize)?,
        (Architecture::ModernBert(config), Device::Cuda) => packed::modern(config, &tensors, float, pooling, normalize)?,
    };
    write(&graph, model, &info)?;
    Ok(PreparedModel { graph, info, written: true })
}

/// Weights first, under a name that only this graph knows, so that a reader of the old graph still finds the old ones.
fn write(graph: &Path, mut model: ModelProto, info: &GraphInfo) -> Result<(), PrepareError> {
    let stem = graph.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let data = format!("{stem}.{}-{GRAPH_VERSION}.data", &info.source_sha256[..16]);
    // Mapped, not copied: sessions share what they only read.
    store::write_whole(&graph.with_file_name(&data), &model.take_weights(&data))?;
    store::write_whole(graph, &prost::Message::encode_to_vec(&model))?;
    store::write_whole(&info_path(graph), &info_json(info))?;
    store::remove_others(graph, &format!("{stem}."), ".data", Some(data.as_str()));
    Ok(())
}

/// What a prepared folder holds for these options, without looking at the weights.
pub fn prepared(
    dir: &Path,
    pooling: Option<Pooling>,
    normalize: bool,
    target: Target,
) -> Result<Option<PreparedModel>, SourceError> {
    let folder = source::Folder::read(dir)?;
    let graph = graph_path(dir, pooling.unwrap_or(folder.pooling), normalize, folder.pooling, target);
    let info = read_info(&graph).filter(|info| info.graph_version == GRAPH_VERSION && graph.is_file());
    Ok(info.map(|info| PreparedModel { graph, info, written: false }))
}

/// `onnx/model.onnx` pools as the model's own files say, normalises and is fp32 for the CPU; what differs is in the name:
/// `model-cls.onnx`, `model-mean-raw.onnx`, `model-cuda-float16.onnx`. So experiments with other wishes share a folder.
fn graph_path(dir: &Path, pooling: Pooling, normalize: bool, own: Pooling, target: Target) -> PathBuf {
    let raw = if normalize { "" } else { "-raw" };
    let end = if pooling == own && normalize { String::new() } else { format!("-{}{raw}", pooling_name(pooling)) };
    let made_for = match target.device {
        Device::Cpu => String::new(),
        Device::Cuda => format!("-cuda-{}", target.dtype.as_str()),
    };
    dir.join("onnx").join(format!("model{end}{made_for}.onnx"))
}

fn info_path(graph: &Path) -> PathBuf {
    graph.with_extension("json")
}

fn read_info(graph: &Path) -> Option<GraphInfo> {
    serde_json::from_slice(&std::fs::read(info_path(graph)).ok()?).ok()
}

fn info_json(info: &GraphInfo) -> Vec<u8> {
    serde_json::to_vec_pretty(info).expect("plain numbers and strings become JSON")
}

pub fn pooling_name(pooling: Pooling) -> &'static str {
    match pooling {
        Pooling::Mean => "mean",
        Pooling::Cls => "cls",
        Pooling::Last => "last",
    }
}

pub(crate) fn parse_device(text: &str) -> Result<Device, String> {
    match text {
        "cpu" => Ok(Device::Cpu),
        "cuda" => Ok(Device::Cuda),
        other => Err(format!("{other:?} is not one of cpu, cuda")),
    }
}

pub(crate) fn parse_dtype(text: &str) -> Result<Dtype, String> {
    match text {
        "float32" | "fp32" => Ok(Dtype::Float32),
        "float16" | "fp16" => Ok(Dtype::Float16),
        "bfloat16" | "bf16" => Ok(Dtype::Bfloat16),
        "int8" => Ok(Dtype::Int8),
        other => Err(format!("{other:?} is not one of float32, float16, bfloat16, int8")),
    }
}

pub(crate) fn parse_pooling(text: &str) -> Result<Pooling, String> {
    match text {
        "mean" => Ok(Pooling::Mean),
        "cls" => Ok(Pooling::Cls),
        "last" => Ok(Pooling::Last),
        other => Err(format!("{other:?} is not one of mean, cls, last")),
    }
}
