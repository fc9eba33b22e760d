//! One graph in ONNX Runtime on one device: texts one after another on the CPU (ModernBERT: padded), packed ones on CUDA.
//! Never falls back: a provider that cannot be registered is an error.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use em_api::spec::Device;
use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;

use super::cuda::CudaSession;
use super::error::BatchError;
use super::unpadded::{self, UnpaddedSession};
use super::{EngineError, batch, packed};
use crate::prepare::PreparedModel;

/// Texts of one length: `[texts, length]`, row-major, padded with 0 where the mask is 0.
struct Batch {
    ids: Vec<i64>,
    mask: Vec<i64>,
    texts: usize,
    length: usize,
}

impl Batch {
    fn pad<'a>(texts: impl ExactSizeIterator<Item = &'a [u32]> + Clone) -> Self {
        let length = texts.clone().map(<[u32]>::len).max().unwrap_or(0);
        let count = texts.len();
        let mut batch = Self { ids: vec![0; count * length], mask: vec![0; count * length], texts: count, length };
        for (row, ids) in texts.enumerate() {
            for (column, &id) in ids.iter().enumerate() {
                batch.ids[row * length + column] = i64::from(id);
                batch.mask[row * length + column] = 1;
            }
        }
        batch
    }

    fn padded_tokens(&self) -> usize {
        self.texts * self.length
    }
}

/// One run's vectors, `[texts, dim]`, row-major, and the tokens that it computed, padding or filler included.
pub(crate) struct Computed {
    pub(crate) values: Vec<f32>,
    pub(crate) tokens: usize,
}

pub(crate) enum GraphSession {
    Padded(PaddedSession),
    Unpadded(UnpaddedSession),
    Packed(Box<CudaSession>),
}

impl GraphSession {
    /// `max_length`: tokens of the longest text that will come.
    pub(crate) fn load(library: &Path, prepared: &PreparedModel, threads: usize, max_length: usize) -> Result<Self, EngineError> {
        let environment = environment(library)?;
        let info = &prepared.info;
        match info.target.device {
            Device::Cpu if info.model_type == "modernbert" => {
                PaddedSession::load(&environment, &prepared.graph, threads, info.dim).map(Self::Padded)
            }
            Device::Cpu => {
                UnpaddedSession::load(&environment, &prepared.graph, threads, info.dim, info.pooling).map(Self::Unpadded)
            }
            Device::Cuda => CudaSession::load(&environment, &prepared.graph, info, max_length).map(Box::new).map(Self::Packed),
        }
    }

    /// Which of the waiting texts, in order of arrival, run next within `budget` tokens.
    pub(crate) fn choose(&self, lengths: &[usize], budget: usize) -> Vec<usize> {
        match self {
            Self::Padded(_) => batch::choose(lengths, budget),
            Self::Unpadded(_) => unpadded::choose(lengths, budget),
            Self::Packed(_) => packed::choose(lengths, budget),
        }
    }

    pub(crate) fn run(&mut self, texts: &[&[u32]]) -> Result<Computed, BatchError> {
        let (values, tokens) = match self {
            Self::Padded(session) => session.run(texts)?,
            Self::Unpadded(session) => session.run(texts)?,
            Self::Packed(session) => session.run(texts)?,
        };
        if values.iter().any(|value| !value.is_finite()) {
            return Err(BatchError::NotFinite);
        }
        Ok(Computed { values, tokens })
    }

    /// Faults of graph, device or driver show now, not at the first request. On the thread that runs the batches.
    pub(crate) fn warm_up(&mut self) -> Result<(), BatchError> {
        match self {
            Self::Padded(_) | Self::Unpadded(_) => self.run(&[&[1_u32; 8], &[1; 4]]).map(drop),
            Self::Packed(session) => session.warm_up(),
        }
    }
}

pub(crate) struct PaddedSession {
    session: Session,
    dim: usize,
}

impl PaddedSession {
    fn load(environment: &Environment, graph: &Path, threads: usize, dim: usize) -> Result<Self, EngineError> {
        let session = cpu_session(environment, graph, threads)?;
        Ok(Self { session, dim })
    }

    fn run(&mut self, texts: &[&[u32]]) -> Result<(Vec<f32>, usize), BatchError> {
        let batch = Batch::pad(texts.iter().copied());
        let shape = [batch.texts, batch.length];
        let outputs = self.session.run(ort::inputs![
            "input_ids" => TensorRef::from_array_view((shape, batch.ids.as_slice()))?,
            "attention_mask" => TensorRef::from_array_view((shape, batch.mask.as_slice()))?,
        ])?;
        let (shape, values) = outputs[0].try_extract_tensor::<f32>()?;
        if values.len() != batch.texts * self.dim {
            return Err(BatchError::Shape { found: shape.to_vec(), texts: batch.texts, dim: self.dim });
        }
        Ok((values.to_vec(), batch.padded_tokens()))
    }
}

/// Its threads sleep while they wait: the load generator may share their cores.
pub(crate) fn cpu_session(environment: &Environment, graph: &Path, threads: usize) -> Result<Session, EngineError> {
    let failed = |source| EngineError::Session { path: graph.to_owned(), source };
    let mut builder = Session::builder(environment)
        .and_then(|builder| Ok(builder.with_optimization_level(GraphOptimizationLevel::All)?))
        .and_then(|builder| Ok(builder.with_intra_threads(threads)?))
        // Each (texts, length) is a new shape: patterns kept per shape would only grow.
        .and_then(|builder| Ok(builder.with_memory_pattern(false)?))
        .and_then(|builder| Ok(builder.with_intra_op_spinning(false)?))
        .map_err(failed)?;
    builder.commit_from_file(graph).map_err(failed)
}

/// ONNX Runtime knows one environment and one library a process; it lives as long as the process.
static ENVIRONMENT: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

fn environment(library: &Path) -> Result<Environment, EngineError> {
    let mut held = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((loaded, environment)) = held.as_ref() {
        if loaded == library {
            return Ok(environment.clone());
        }
        return Err(EngineError::OtherLibrary { loaded: loaded.clone(), wanted: library.to_owned() });
    }
    let unusable = |source| EngineError::Library { path: library.to_owned(), source };
    let environment = ort::init_from(library)
        .map_err(unusable)?
        .with_telemetry(false)
        .build()
        .map_err(|source| EngineError::Session { path: library.to_owned(), source })?;
    *held = Some((library.to_owned(), environment.clone()));
    Ok(environment)
}

/// For example `1.31.1`. Only after a session was loaded.
pub(crate) fn runtime_version() -> String {
    let held = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    let name = held.as_ref().and_then(|(library, _)| library.file_name()).map(|name| name.to_string_lossy().into_owned());
    let version = name.as_deref().and_then(|name| name.strip_prefix("libonnxruntime.so.")).unwrap_or("unknown");
    version.to_owned()
}
