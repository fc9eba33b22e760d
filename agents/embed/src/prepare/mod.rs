//! `em-agent model prepare`: a Hugging Face or sentence-transformers folder becomes an fp32 ONNX graph with pooling and
//! normalisation inside, written in Rust from the safetensors, so that our service needs no Python. The graph lies in the
//! model's folder under `onnx/`, with a small JSON beside it that says what it was made from.

mod bert;
mod onnx;
mod source;
mod store;

use std::path::{Path, PathBuf};

use em_api::spec::Pooling;
use serde::{Deserialize, Serialize};

pub use source::SourceError;
pub use store::{StoreError, model_dir};

/// Raised when the graph that we write changes: older graphs are then written anew.
pub const GRAPH_VERSION: u32 = 2;

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
    pub force: bool,
}

impl Default for PrepareOptions {
    fn default() -> Self {
        Self { pooling: None, normalize: true, force: false }
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
    #[error(
        "the graph of {} would have {bytes} bytes and ONNX files end at 2 GiB: choose a smaller model or another backend",
        dir.display()
    )]
    TooLarge { dir: PathBuf, bytes: u64 },
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
    let options = PrepareOptions { pooling: args.pooling, normalize: !args.no_normalize, force: args.force };
    let prepared = prepare_model(&dir, options)?;
    let what = if prepared.written { "wrote" } else { "up to date:" };
    let GraphInfo { pooling, normalize, max_length, dim, .. } = prepared.info;
    let normalised = if normalize { "normalised" } else { "not normalised" };
    println!(
        "{what} {} ({} pooling, {normalised}, {dim} dimensions, {max_length} tokens at most)",
        prepared.graph.display(),
        pooling_name(pooling)
    );
    Ok(())
}

/// Writes `onnx/model.onnx` (or a variant: `model-cls.onnx`, `model-mean-raw.onnx`) into the model's folder unless it is up to date.
/// The files appear whole or not at all, so several processes may prepare the same folder at once.
pub fn prepare_model(dir: &Path, options: PrepareOptions) -> Result<PreparedModel, PrepareError> {
    let folder = source::Folder::read(dir)?;
    let pooling = options.pooling.unwrap_or(folder.pooling);
    let graph = graph_path(dir, pooling, options.normalize, folder.pooling);
    let weights = folder.stamp()?;
    let existing = read_info(&graph).filter(|info| graph.is_file() && info.graph_version == GRAPH_VERSION);

    let mut info = GraphInfo {
        graph_version: GRAPH_VERSION,
        source_sha256: String::new(),
        source_bytes: weights.bytes,
        source_modified: weights.modified,
        model_type: folder.config.model_type.clone(),
        pooling,
        normalize: options.normalize,
        max_length: folder.max_length,
        dim: folder.config.hidden_size,
        vocab_size: folder.config.vocab_size,
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

    let model = bert::model(&folder.config, &tensors, pooling, options.normalize)?;
    let bytes = prost::Message::encoded_len(&model) as u64;
    if bytes >= 1 << 31 {
        return Err(PrepareError::TooLarge { dir: dir.to_owned(), bytes });
    }
    store::write_whole(&graph, &prost::Message::encode_to_vec(&model))?;
    store::write_whole(&info_path(&graph), &info_json(&info))?;
    Ok(PreparedModel { graph, info, written: true })
}

/// What a prepared folder holds for these options, without looking at the weights.
pub fn prepared(dir: &Path, pooling: Option<Pooling>, normalize: bool) -> Result<Option<PreparedModel>, SourceError> {
    let folder = source::Folder::read(dir)?;
    let graph = graph_path(dir, pooling.unwrap_or(folder.pooling), normalize, folder.pooling);
    let info = read_info(&graph).filter(|info| info.graph_version == GRAPH_VERSION && graph.is_file());
    Ok(info.map(|info| PreparedModel { graph, info, written: false }))
}

/// `onnx/model.onnx` pools as the model's own files say and normalises; what differs is in the name: `model-cls.onnx`,
/// `model-mean-raw.onnx`. So experiments with other wishes share a folder.
fn graph_path(dir: &Path, pooling: Pooling, normalize: bool, own: Pooling) -> PathBuf {
    let raw = if normalize { "" } else { "-raw" };
    let name = if pooling == own && normalize { "model.onnx".into() } else { format!("model-{}{raw}.onnx", pooling_name(pooling)) };
    dir.join("onnx").join(name)
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

pub(crate) fn parse_pooling(text: &str) -> Result<Pooling, String> {
    match text {
        "mean" => Ok(Pooling::Mean),
        "cls" => Ok(Pooling::Cls),
        "last" => Ok(Pooling::Last),
        other => Err(format!("{other:?} is not one of mean, cls, last")),
    }
}
