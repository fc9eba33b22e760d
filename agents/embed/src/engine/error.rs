//! What can go wrong when an engine is loaded and when it embeds.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::prepare::{SourceError, Target};

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Model(#[from] SourceError),
    #[error(
        "{} has no graph for these options yet: em-agent model prepare {} --device {} --dtype {} writes it",
        dir.display(), dir.display(), target.device_name(), target.dtype.as_str()
    )]
    NotPrepared { dir: PathBuf, target: Target },
    #[error("max length {wanted} is not between 3 and {most}, the most that the model takes")]
    MaxLength { wanted: usize, most: usize },
    #[error("token budget {wanted} is above {most}, the most tokens of a batch on cuda")]
    TokenBudget { wanted: usize, most: usize },
    #[error("reading {}", path.display())]
    Tokenizer {
        path: PathBuf,
        #[source]
        source: tokenizers::Error,
    },
    #[error(
        "no ONNX Runtime found ({tried}): give --library PATH or ORT_DYLIB_PATH, or let em-agent setup --backend ort put it into the store"
    )]
    NoLibrary { tried: String },
    #[error("{} cannot be used as ONNX Runtime (1.24 or newer is needed)", path.display())]
    Library {
        path: PathBuf,
        #[source]
        source: ort::LoadDynamicError,
    },
    #[error("ONNX Runtime is loaded from {} already; one process holds one library, so {} needs a process of its own", loaded.display(), wanted.display())]
    OtherLibrary { loaded: PathBuf, wanted: PathBuf },
    #[error("ONNX Runtime cannot use CUDA here; nothing was started (device: cpu would be another measurement)")]
    Cuda {
        #[source]
        source: ort::Error,
    },
    #[error("CUDA's runtime library cannot be loaded ({tried}): put it on LD_LIBRARY_PATH, as for ONNX Runtime itself")]
    NoCudaRuntime { tried: String },
    #[error("loading {} into ONNX Runtime", path.display())]
    Session {
        path: PathBuf,
        #[source]
        source: ort::Error,
    },
    #[error("the graph was loaded but its first batch failed")]
    FirstBatch {
        #[source]
        source: BatchError,
    },
}

/// One run of the graph.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    #[error("running the graph")]
    Run(#[from] ort::Error),
    #[error("the graph returned shape {found:?} for {texts} texts of {dim} dimensions: prepare the model again with --force")]
    Shape { found: Vec<i64>, texts: usize, dim: usize },
    #[error("the graph returned values that are not finite")]
    NotFinite,
    #[error("copying to or from the GPU: CUDA error {code}")]
    Copy { code: i32 },
    #[error("the thread that runs batches ended by itself")]
    Panicked,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum EmbedError {
    #[error("{waiting} texts wait already and the queue holds {limit}: try again later")]
    Full { waiting: usize, limit: usize },
    #[error("the service is stopping")]
    Closed,
    #[error("token id {id} is outside the vocabulary of {vocab_size}")]
    TokenId {
        /// Which of the lists.
        list: usize,
        id: u32,
        vocab_size: usize,
    },
    #[error("text {text} has {length} tokens and this model takes {most}: send less, or \"truncate\": true to have it cut")]
    TooLong {
        /// Which of the texts.
        text: usize,
        length: usize,
        most: usize,
    },
    #[error("no vectors after {:.1} s, the deadline of this request", waited.as_secs_f64())]
    Deadline { waited: Duration },
    #[error("splitting a text into tokens")]
    Tokenise(#[source] Arc<dyn std::error::Error + Send + Sync>),
    #[error("computing a batch")]
    Batch(#[source] Arc<BatchError>),
}
