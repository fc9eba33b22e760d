//! Our embedding engine: ONNX Runtime in this process, one queue over all requests. Texts are tokenised on
//! threads of their own, wait in the queue, and one batcher thread runs them in batches of similar length. Knows nothing of HTTP.

mod batch;
mod error;
mod library;
mod metrics;
mod queue;
mod request;
mod session;
mod tokenizer;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use em_api::spec::{Device, Pooling};
use serde::Serialize;

pub use error::{EmbedError, EngineError};
pub use metrics::{Metrics, Phase};
pub use request::{Embedded, Times, Wishes};
pub use tokenizer::Tokens;

use crate::prepare::{self, GraphInfo};
use queue::Queue;
use session::GraphSession;
use tokenizer::{TextTokenizer, Tokenisers};

/// Padded tokens of a batch. On two CPU cores larger ones are slower: activations outgrow the cache.
const TOKEN_BUDGET_CPU: usize = 1200;
const TOKEN_BUDGET_CUDA: usize = 16_384;

#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// A folder that `prepare` has been at: tokenizer.json and onnx/.
    pub model_dir: PathBuf,
    /// libonnxruntime; else `ORT_DYLIB_PATH`, else `lib/onnxruntime-*` of the store that the model lies in.
    pub library: Option<PathBuf>,
    pub device: Device,
    /// Default: the cores that this process may use.
    pub threads: Option<usize>,
    /// Default: half of the cores, eight at most.
    pub tokenizer_threads: Option<usize>,
    /// Tokens a text is cut to, special ones included; default and upper bound: what the model's files say.
    pub max_length: Option<usize>,
    /// Padded tokens of a batch (its texts times its longest text).
    pub token_budget: Option<usize>,
    /// Texts that may wait; more are refused.
    pub max_queue: usize,
    /// `None`: what the model's own files say.
    pub pooling: Option<Pooling>,
    pub normalize: bool,
}

/// What runs, for `/info` and the log.
#[derive(Clone, Debug, Serialize)]
pub struct EngineInfo {
    pub device: Device,
    pub dtype: &'static str,
    pub pooling: Pooling,
    pub normalize: bool,
    pub max_length: usize,
    pub embedding_dim: usize,
    pub vocab_size: usize,
    pub threads: usize,
    pub token_budget: usize,
    pub max_queue: usize,
    /// Of ONNX Runtime, as the library states it.
    pub runtime: String,
    pub graph_sha256_of_weights: String,
}

pub struct Engine {
    queue: Arc<Queue>,
    tokenisers: Tokenisers,
    metrics: Arc<Metrics>,
    info: EngineInfo,
    worker: Option<JoinHandle<()>>,
}

impl Engine {
    /// Loads library, graph and tokenizer and runs one batch. Takes a second or less for small models; blocks.
    pub fn load(options: EngineOptions) -> Result<Self, EngineError> {
        let dir = options.model_dir.as_path();
        let prepared = prepare::prepared(dir, options.pooling, options.normalize)?
            .ok_or_else(|| EngineError::NotPrepared { dir: dir.to_owned() })?;
        let max_length = max_length(options.max_length, &prepared.info)?;
        let tokenizer = TextTokenizer::load(dir, max_length)?;

        let library = library::find(options.library.as_deref(), dir, options.device)?;
        let threads = options.threads.unwrap_or_else(allowed_cores);
        let mut session = GraphSession::load(&library, &prepared.graph, options.device, threads, prepared.info.dim)?;
        session.warm_up().map_err(|source| EngineError::FirstBatch { source })?;

        let default_budget = match options.device {
            Device::Cpu => TOKEN_BUDGET_CPU,
            Device::Cuda => TOKEN_BUDGET_CUDA,
        };
        let info = EngineInfo {
            device: options.device,
            dtype: "float32",
            pooling: prepared.info.pooling,
            normalize: prepared.info.normalize,
            max_length,
            embedding_dim: prepared.info.dim,
            vocab_size: prepared.info.vocab_size,
            threads,
            token_budget: options.token_budget.unwrap_or(default_budget),
            max_queue: options.max_queue,
            runtime: session::runtime_version(),
            graph_sha256_of_weights: prepared.info.source_sha256,
        };
        let queue = Arc::new(Queue::new(options.max_queue, info.token_budget));
        let metrics = Arc::new(Metrics::new(&queue.dropped));
        let worker = worker::start(session, Arc::clone(&queue), Arc::clone(&metrics));
        let tokenisers =
            Tokenisers::start(tokenizer, options.tokenizer_threads.unwrap_or_else(|| (allowed_cores() / 2).clamp(1, 8)));
        Ok(Self { tokenisers, queue, metrics, info, worker: Some(worker) })
    }

    pub fn info(&self) -> &EngineInfo {
        &self.info
    }

    /// The Prometheus text of everything that this engine counts.
    pub fn metrics(&self) -> &Metrics {
        self.metrics.queue_depth(self.queue.depth());
        &self.metrics
    }

    /// False once closed, also when the batcher died.
    pub fn accepts(&self) -> bool {
        !self.queue.closed()
    }

    /// Refuses new texts; those that wait are still embedded.
    pub fn close(&self) {
        self.queue.close();
    }
}

impl Drop for Engine {
    /// Waits for the texts that were accepted.
    fn drop(&mut self) {
        self.close();
        if let Some(worker) = self.worker.take() {
            // A panic of the batcher was reported by its own thread; requests then ended with `Closed`.
            let _ = worker.join();
        }
    }
}

fn max_length(wanted: Option<usize>, info: &GraphInfo) -> Result<usize, EngineError> {
    let wanted = wanted.unwrap_or(info.max_length);
    if (3..=info.max_length).contains(&wanted) {
        return Ok(wanted);
    }
    Err(EngineError::MaxLength { wanted, most: info.max_length })
}

/// Follows the affinity mask and the control group, so a job uses what Slurm gave it and no more.
fn allowed_cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
