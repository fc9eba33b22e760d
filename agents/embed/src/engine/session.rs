//! One graph in ONNX Runtime on one device. Never falls back: a provider that cannot be registered is an error.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use em_api::spec::Device;
use ort::environment::Environment;
use ort::ep;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;

use super::EngineError;
use super::error::BatchError;

/// Texts of one length: `[texts, length]`, row-major, padded with 0 where the mask is 0.
pub(crate) struct Batch {
    ids: Vec<i64>,
    mask: Vec<i64>,
    texts: usize,
    length: usize,
}

impl Batch {
    pub(crate) fn pad<'a>(texts: impl ExactSizeIterator<Item = &'a [u32]> + Clone) -> Self {
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

    pub(crate) fn padded_tokens(&self) -> usize {
        self.texts * self.length
    }
}

pub(crate) struct GraphSession {
    session: Session,
    dim: usize,
}

impl GraphSession {
    pub(crate) fn load(library: &Path, graph: &Path, device: Device, threads: usize, dim: usize) -> Result<Self, EngineError> {
        let environment = environment(library)?;
        let failed = |source| EngineError::Session { path: graph.to_owned(), source };
        let builder = Session::builder(&environment)
            .and_then(|builder| Ok(builder.with_optimization_level(GraphOptimizationLevel::All)?))
            .and_then(|builder| Ok(builder.with_intra_threads(threads)?))
            // Each (texts, length) is a new shape: patterns kept per shape would only grow.
            .and_then(|builder| Ok(builder.with_memory_pattern(false)?))
            .and_then(|builder| Ok(builder.with_intra_op_spinning(SPIN)?))
            .map_err(failed)?;
        let mut builder = match device {
            Device::Cpu => builder,
            // fp32 means fp32: TF32 is on by default and would fail the parity of 0.9999 on some models.
            Device::Cuda => builder
                .with_execution_providers([ep::CUDA::default().with_tf32(false).build().error_on_failure()])
                .map_err(|error| EngineError::Cuda { source: error.into() })?,
        };
        let session = builder.commit_from_file(graph).map_err(failed)?;
        Ok(Self { session, dim })
    }

    /// `[texts, dim]`, row-major.
    pub(crate) fn run(&mut self, batch: &Batch) -> Result<Vec<f32>, BatchError> {
        let shape = [batch.texts, batch.length];
        let outputs = self.session.run(ort::inputs![
            "input_ids" => TensorRef::from_array_view((shape, batch.ids.as_slice()))?,
            "attention_mask" => TensorRef::from_array_view((shape, batch.mask.as_slice()))?,
        ])?;
        let (shape, values) = outputs[0].try_extract_tensor::<f32>()?;
        if values.len() != batch.texts * self.dim {
            return Err(BatchError::Shape { found: shape.to_vec(), texts: batch.texts, dim: self.dim });
        }
        if values.iter().any(|value| !value.is_finite()) {
            return Err(BatchError::NotFinite);
        }
        Ok(values.to_vec())
    }

    /// Two texts of eight and four tokens: faults of graph, device or driver show now, not at the first request.
    pub(crate) fn warm_up(&mut self) -> Result<(), BatchError> {
        self.run(&Batch::pad([&[1_u32; 8][..], &[1; 4][..]].into_iter())).map(drop)
    }
}

/// Threads that wait for work by sleeping: the load generator may share their cores.
const SPIN: bool = false;

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
