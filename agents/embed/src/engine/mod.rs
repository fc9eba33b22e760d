//! Our embedding engine: ONNX Runtime in this process, one queue over all requests. Texts are tokenised on threads of their
//! own, wait in the queue, and batcher threads run them without padding where the graph allows it. Knows nothing of HTTP.

mod batch;
mod copy;
mod cuda;
mod error;
mod library;
mod metrics;
mod packed;
mod queue;
mod request;
mod session;
mod tokenizer;
mod unpadded;
mod worker;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use em_api::spec::{Device, Dtype, Pooling};
use serde::Serialize;

pub use error::{EmbedError, EngineError};
pub use metrics::{Metrics, Phase};
pub use request::{Embedded, Times, Wishes};
pub use tokenizer::Tokens;

use crate::prepare::{self, GraphInfo, Target};
use queue::Queue;
use session::GraphSession;
use tokenizer::{TextTokenizer, Tokenisers};

/// Tokens of a batch. On the CPU larger ones are slower: activations outgrow the cache.
const TOKEN_BUDGET_CPU: usize = 600;
const TOKEN_BUDGET_CUDA: usize = packed::MOST_TOKENS;
/// Two sessions on one GPU: one copies and packs while the other computes.
const SESSIONS_CUDA: usize = 2;
/// Each has a copy of the weights.
const SESSIONS_CPU: usize = 4;

#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// A folder that `prepare` has been at: tokenizer.json and onnx/.
    pub model_dir: PathBuf,
    /// libonnxruntime; else `ORT_DYLIB_PATH`, else `lib/onnxruntime-*` of the store that the model lies in.
    pub library: Option<PathBuf>,
    pub device: Device,
    pub dtype: Dtype,
    /// Sessions that run batches at once; default: 2 on CUDA, one a core on the CPU and four at most.
    pub sessions: Option<usize>,
    /// Default: the cores that this process may use.
    pub threads: Option<usize>,
    /// Default: half of the cores, eight at most.
    pub tokenizer_threads: Option<usize>,
    /// Tokens a text is cut to, special ones included; default and upper bound: what the model's files say.
    pub max_length: Option<usize>,
    /// Tokens of a batch, on CUDA 8,192 at most; for ModernBERT on the CPU its texts times its longest text.
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

pub struct Engine {
    queue: Arc<Queue>,
    tokenisers: Tokenisers,
    metrics: Arc<Metrics>,
    info: EngineInfo,
    workers: Workers,
}

impl Engine {
    /// Loads library, graph and tokenizer and runs one batch. Takes a second or less for small models; blocks.
    pub fn load(options: EngineOptions) -> Result<Self, EngineError> {
        let dir = options.model_dir.as_path();
        let target = Target { device: options.device, dtype: options.dtype };
        let prepared = prepare::prepared(dir, options.pooling, options.normalize, target)?
            .ok_or_else(|| EngineError::NotPrepared { dir: dir.to_owned(), target })?;
        let max_length = max_length(options.max_length, &prepared.info)?;
        let token_budget = token_budget(options.token_budget, options.device)?;
        let tokenizer = TextTokenizer::load(dir, max_length)?;

        let library = library::find(options.library.as_deref(), dir, options.device)?;
        let threads = options.threads.unwrap_or_else(allowed_cores);
        let sessions = options.sessions.unwrap_or(match options.device {
            // One core a session measured 10 to 15 % faster than one session over two cores: nobody waits at the end of each product.
            Device::Cpu => threads.min(SESSIONS_CPU),
            Device::Cuda => SESSIONS_CUDA,
        });
        let queue = Arc::new(Queue::new(options.max_queue, token_budget));
        let metrics = Arc::new(Metrics::new(&queue.dropped));
        let workers = Workers { queue: Arc::clone(&queue), threads: Mutex::default() };
        for number in 0..sessions {
            // The cores that do not divide go to the first ones.
            let threads = (threads / sessions + usize::from(number < threads % sessions)).max(1);
            let session = GraphSession::load(&library, &prepared, threads, max_length)?;
            workers.add(worker::start(session, Arc::clone(&queue), Arc::clone(&metrics))?);
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
        let tokenizer_threads = options.tokenizer_threads.unwrap_or_else(|| (allowed_cores() / 2).clamp(1, 8));
        let tokenisers = Tokenisers::start(tokenizer, tokenizer_threads);
        Ok(Self { tokenisers, queue, metrics, info, workers })
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

    /// Closes and waits until the last accepted text is done and the sessions are gone; blocks. To be called before the
    /// process ends, also where others still hold the engine: CUDA's libraries crash when they are unloaded under a session.
    pub fn end(&self) {
        self.workers.end();
    }
}

/// The batcher threads. Dropped, they finish the texts that were accepted, and end.
struct Workers {
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Workers {
    fn add(&self, thread: JoinHandle<()>) {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
    }

    fn end(&self) {
        self.queue.close();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A panic of the batcher was reported by its own thread; requests then ended with `Closed`.
            let _ = thread.join();
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.end();
    }
}

fn max_length(wanted: Option<usize>, info: &GraphInfo) -> Result<usize, EngineError> {
    let wanted = wanted.unwrap_or(info.max_length);
    if (3..=info.max_length).contains(&wanted) {
        return Ok(wanted);
    }
    Err(EngineError::MaxLength { wanted, most: info.max_length })
}

fn token_budget(wanted: Option<usize>, device: Device) -> Result<usize, EngineError> {
    match (wanted, device) {
        (None, Device::Cpu) => Ok(TOKEN_BUDGET_CPU),
        (None, Device::Cuda) => Ok(TOKEN_BUDGET_CUDA),
        (Some(wanted), Device::Cuda) if wanted > prepare::MOST_TOKENS_OF_A_RUN => {
            Err(EngineError::TokenBudget { wanted, most: prepare::MOST_TOKENS_OF_A_RUN })
        }
        (Some(wanted), _) => Ok(wanted),
    }
}

/// Follows the affinity mask and the control group, so a job uses what Slurm gave it and no more.
fn allowed_cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
