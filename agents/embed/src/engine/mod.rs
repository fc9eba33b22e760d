//! Our embedding engine: ONNX Runtime in this process, one queue over all requests. Texts are tokenised on blocking
//! threads, wait in the queue, and batcher threads run them: padded with texts of similar length on the CPU, packed on CUDA. Knows nothing of HTTP.

mod batch;
mod copy;
mod cuda;
mod error;
mod library;
mod metrics;
mod packed;
mod queue;
mod session;
mod tokenizer;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use em_api::spec::{Device, Dtype, Pooling};
use serde::Serialize;

pub use error::{EmbedError, EngineError};
pub use metrics::{Metrics, Phase};

use crate::prepare::{self, GraphInfo, Target};
use queue::Queue;
use session::GraphSession;
use tokenizer::TextTokenizer;

/// Padded tokens of a batch. On two CPU cores larger ones are slower: activations outgrow the cache.
const TOKEN_BUDGET_CPU: usize = 1200;
const TOKEN_BUDGET_CUDA: usize = packed::MOST_TOKENS;
/// Two sessions on one GPU: one copies and packs while the other computes.
const SESSIONS_CUDA: usize = 2;

#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// A folder that `prepare` has been at: tokenizer.json and onnx/.
    pub model_dir: PathBuf,
    /// libonnxruntime; else `ORT_DYLIB_PATH`, else `lib/onnxruntime-*` of the store that the model lies in.
    pub library: Option<PathBuf>,
    pub device: Device,
    pub dtype: Dtype,
    /// Sessions that run batches at once; default: 2 on CUDA, 1 on the CPU.
    pub sessions: Option<usize>,
    /// Default: the cores that this process may use.
    pub threads: Option<usize>,
    /// Tokens a text is cut to, special ones included; default and upper bound: what the model's files say.
    pub max_length: Option<usize>,
    /// Tokens of a batch; on the CPU its texts times its longest text.
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
    pub sessions: usize,
    pub token_budget: usize,
    pub max_queue: usize,
    /// Of ONNX Runtime, as the library states it.
    pub runtime: String,
    pub graph_sha256_of_weights: String,
}

/// `[texts, dim]` f32, row-major, in the order of the texts.
#[derive(Clone, Debug)]
pub struct Embedded {
    pub values: Vec<f32>,
    pub dim: usize,
    /// After truncation, special tokens included, padding not.
    pub tokens: usize,
}

impl Embedded {
    pub fn vectors(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.dim)
    }
}

pub struct Engine {
    queue: Arc<Queue>,
    tokenizer: Arc<TextTokenizer>,
    metrics: Arc<Metrics>,
    info: EngineInfo,
    _workers: Workers,
}

impl Engine {
    /// Loads library, graph and tokenizer and runs one batch. Takes a second or less for small models; blocks.
    pub fn load(options: EngineOptions) -> Result<Self, EngineError> {
        let dir = options.model_dir.as_path();
        let target = Target { device: options.device, dtype: options.dtype };
        let prepared = prepare::prepared(dir, options.pooling, options.normalize, target)?
            .ok_or_else(|| EngineError::NotPrepared { dir: dir.to_owned() })?;
        let max_length = max_length(options.max_length, &prepared.info)?;
        let tokenizer = TextTokenizer::load(dir, max_length)?;

        let library = library::find(options.library.as_deref(), dir, options.device)?;
        let threads = options.threads.unwrap_or_else(allowed_cores);
        let (default_budget, default_sessions) = match options.device {
            Device::Cpu => (TOKEN_BUDGET_CPU, 1),
            Device::Cuda => (TOKEN_BUDGET_CUDA, SESSIONS_CUDA),
        };
        let sessions = options.sessions.unwrap_or(default_sessions);
        let token_budget = options.token_budget.unwrap_or(default_budget);
        let queue = Arc::new(Queue::new(options.max_queue));
        let metrics = Arc::new(Metrics::new());
        let mut workers = Workers { queue: Arc::clone(&queue), threads: Vec::new() };
        for _ in 0..sessions {
            let session = GraphSession::load(&library, &prepared, threads, max_length)?;
            workers.threads.push(worker::start(session, Arc::clone(&queue), Arc::clone(&metrics), token_budget)?);
        }
        let info = EngineInfo {
            device: options.device,
            dtype: options.dtype.as_str(),
            pooling: prepared.info.pooling,
            normalize: prepared.info.normalize,
            max_length,
            embedding_dim: prepared.info.dim,
            vocab_size: prepared.info.vocab_size,
            threads,
            sessions,
            token_budget,
            max_queue: options.max_queue,
            runtime: session::runtime_version(),
            graph_sha256_of_weights: prepared.info.source_sha256,
        };
        Ok(Self { queue, tokenizer: Arc::new(tokenizer), metrics, info, _workers: workers })
    }

    /// One vector a text, in order; longer texts are cut. Dropping the future takes the texts out of the queue.
    /// Errors: [`EmbedError::Full`] when the queue holds `max_queue` texts, [`EmbedError::Closed`] after [`Engine::close`].
    /// Needs a tokio runtime.
    pub async fn embed(&self, texts: Vec<String>) -> Result<Embedded, EmbedError> {
        self.queue.admits(texts.len())?;
        let started = Instant::now();
        let tokenizer = Arc::clone(&self.tokenizer);
        let tokens = tokio::task::spawn_blocking(move || tokenizer.encode(texts)).await.map_err(|_| EmbedError::Closed)??;
        self.metrics.phase(Phase::Tokenise, started.elapsed());
        self.run(tokens).await
    }

    /// Like [`Engine::embed`] for token ids of this model's vocabulary, taken as they are but for the cut.
    pub async fn embed_tokens(&self, mut tokens: Vec<Vec<u32>>) -> Result<Embedded, EmbedError> {
        let vocab_size = self.info.vocab_size;
        for (list, ids) in tokens.iter_mut().enumerate() {
            if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocab_size) {
                return Err(EmbedError::TokenId { list, id, vocab_size });
            }
            ids.truncate(self.info.max_length);
        }
        self.run(tokens).await
    }

    async fn run(&self, tokens: Vec<Vec<u32>>) -> Result<Embedded, EmbedError> {
        let count = tokens.iter().map(Vec::len).sum();
        let dim = self.info.embedding_dim;
        let values = self.queue.submit(tokens, dim)?.vectors().await?;
        Ok(Embedded { values, dim, tokens: count })
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

/// The batcher threads. Dropped, they finish the texts that were accepted, and end.
struct Workers {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.queue.close();
        for thread in self.threads.drain(..) {
            // A panic of the batcher was reported by its own thread; requests then ended with `Closed`.
            let _ = thread.join();
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
