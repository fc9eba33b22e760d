//! The packed graph on one CUDA device. Each shape of [`Shape::captured`] is recorded once as a CUDA graph over inputs and
//! outputs at fixed device addresses, then replayed: some 280 kernels start as one. Longer texts run without recording.

use std::collections::HashMap;
use std::path::Path;

use em_api::spec::{Dtype, Pooling};
use half::f16;
use ort::environment::Environment;
use ort::ep;
use ort::ep::cuda::AttentionBackend;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{IoBinding, RunOptions, Session};
use ort::value::{DynTensor, PrimitiveTensorElementType, Tensor};

use super::copy::{Copier, DeviceTensor};
use super::error::{BatchError, EngineError};
use super::packed::{Layout, Shape, layout};
use crate::prepare::GraphInfo;

/// Added to the score of tokens that do not see each other; half precision holds it.
const UNSEEN: f32 = -1e4;
/// The run option that names a CUDA graph; -1 runs without one.
const GRAPH_ID: &str = "gpu_graph_id";

pub(crate) struct CudaSession {
    // Before the session, whose memory they hold.
    captured: HashMap<Shape, Captured>,
    bands: HashMap<usize, DynTensor>,
    device: Allocator,
    session: Session,
    copier: Copier,
    without_graph: RunOptions,
    pooling: Pooling,
    dim: usize,
    max_length: usize,
    window: Option<usize>,
    dtype: Dtype,
}

/// One shape's graph: its bindings, and the addresses that each batch is written to and read from.
struct Captured {
    binding: IoBinding,
    options: RunOptions,
    ids: DeviceTensor,
    positions: DeviceTensor,
    owners: DeviceTensor,
    starts: DeviceTensor,
    vectors: DeviceTensor,
}

impl CudaSession {
    pub(crate) fn load(environment: &Environment, graph: &Path, info: &GraphInfo, max_length: usize) -> Result<Self, EngineError> {
        let failed = |source| EngineError::Session { path: graph.to_owned(), source };
        let provider = ep::CUDA::default()
            // fp32 means fp32: TF32 is on by default and would fail the parity of 0.9999 on some models.
            .with_tf32(false)
            .with_cuda_graph(true)
            // The fastest on short texts, and without cuDNN, whose attention stalls 150 ms at each new shape.
            .with_attention_backend(AttentionBackend::EFFICIENT_ATTENTION);
        let mut builder = Session::builder(environment)
            .and_then(|builder| Ok(builder.with_optimization_level(GraphOptimizationLevel::All)?))
            .and_then(|builder| Ok(builder.with_intra_threads(1)?))
            .and_then(|builder| Ok(builder.with_intra_op_spinning(false)?))
            .map_err(failed)?
            .with_execution_providers([provider.build().error_on_failure()])
            .map_err(|error| EngineError::Cuda { source: error.into() })?;
        let session = builder.commit_from_file(graph).map_err(failed)?;
        let memory = MemoryInfo::new(AllocationDevice::CUDA, 0, AllocatorType::Device, MemoryType::Default).map_err(failed)?;
        let device = Allocator::new(&session, memory).map_err(failed)?;
        let mut without_graph = RunOptions::new().map_err(failed)?;
        without_graph.set(GRAPH_ID, "-1").map_err(failed)?;
        Ok(Self {
            captured: HashMap::new(),
            bands: HashMap::new(),
            device,
            session,
            copier: Copier::open()?,
            without_graph,
            pooling: info.pooling,
            dim: info.dim,
            max_length,
            window: info.window,
            dtype: info.target.dtype,
        })
    }

    /// Records every shape. To be called on the thread that will run the batches, by one thread at a time: CUDA graphs
    /// belong to their thread, and two recordings at once fail.
    ///
    /// All that outlives a run is allocated before the first recording. A recorded graph writes its intermediate values to
    /// memory that ONNX Runtime holds for free after the run; a tensor put there later would be overwritten by each replay.
    pub(crate) fn warm_up(&mut self) -> Result<(), BatchError> {
        let shapes = Shape::captured(self.max_length);
        let mut longest = 8;
        while longest < self.max_length.next_power_of_two() {
            longest *= 2;
            self.keep_band(longest)?;
        }
        for shape in &shapes {
            self.keep_band(shape.longest)?;
        }
        for (number, shape) in shapes.iter().enumerate() {
            let captured = self.bind(*shape, number + 1)?;
            self.captured.insert(*shape, captured);
        }
        for shape in &shapes {
            let Captured { binding, options, .. } = &self.captured[shape];
            // The first runs settle memory, the next is recorded, the last is a replay.
            for _ in 0..3 {
                self.session.run_binding_with_options(binding, options)?;
            }
        }
        // The one run that no recording covers, and the one that needs most memory.
        self.run(&[&vec![1_u32; self.max_length]]).map(drop)
    }

    fn bind(&self, shape: Shape, number: usize) -> Result<Captured, BatchError> {
        let mut options = RunOptions::new()?;
        options.set(GRAPH_ID, number.to_string())?;
        let mut binding = self.session.create_binding()?;
        let first = layout(&[], shape, self.pooling);
        let (tokens, rows) = (shape.tokens, shape.rows);
        let ids = self.bound(&mut binding, "ids", &[tokens], &first.ids)?;
        let positions = self.bound(&mut binding, "pos", &[1, tokens], &first.positions)?;
        let owners = self.bound(&mut binding, "seg", &[1, tokens], &first.owners)?;
        let starts = self.bound(&mut binding, "cu", &[rows + 1], &first.starts)?;
        self.bind_fixed(&mut binding, shape)?;
        let vectors = Tensor::<f32>::new(&self.device, [rows, self.dim])?;
        let at = DeviceTensor::of(&vectors);
        binding.bind_output("embedding", vectors)?;
        Ok(Captured { binding, options, ids, positions, owners, starts, vectors: at })
    }

    /// The inputs that only the shape decides.
    fn bind_fixed(&self, binding: &mut IoBinding, Shape { rows, longest, .. }: Shape) -> Result<(), BatchError> {
        self.bound(binding, "off", &[rows, longest], &vec![0_i32; rows * longest])?;
        self.bound(binding, "rows", &[rows, 1], &(0..rows as i32).collect::<Vec<_>>())?;
        if let Some(band) = self.bands.get(&longest) {
            binding.bind_input("band", band)?;
        }
        Ok(())
    }

    /// A new tensor on the device, bound for good.
    fn bound<T: PrimitiveTensorElementType + Copy + std::fmt::Debug>(
        &self,
        binding: &mut IoBinding,
        name: &str,
        dims: &[usize],
        values: &[T],
    ) -> Result<DeviceTensor, BatchError> {
        let tensor = self.on_device(dims, values)?;
        binding.bind_input(name, &tensor)?;
        Ok(DeviceTensor::of(&tensor))
    }

    fn on_device<T: PrimitiveTensorElementType + Copy + std::fmt::Debug>(
        &self,
        dims: &[usize],
        values: &[T],
    ) -> Result<Tensor<T>, BatchError> {
        let tensor = Tensor::<T>::new(&self.device, dims)?;
        self.copier.write(DeviceTensor::of(&tensor), values)?;
        Ok(tensor)
    }

    fn keep_band(&mut self, longest: usize) -> Result<(), BatchError> {
        if let (Some(window), false) = (self.window, self.bands.contains_key(&longest)) {
            let band = self.band(longest, window)?;
            self.bands.insert(longest, band);
        }
        Ok(())
    }

    /// `[1, 1, longest, longest]`.
    fn band(&self, longest: usize, window: usize) -> Result<DynTensor, BatchError> {
        let seen = |row: usize, column: usize| if row.abs_diff(column) <= window { 0.0 } else { UNSEEN };
        let values = (0..longest * longest).map(|place| seen(place / longest, place % longest));
        let dims = [1, 1, longest, longest];
        Ok(match self.dtype {
            Dtype::Float16 => self.on_device(&dims, &values.map(f16::from_f32).collect::<Vec<_>>())?.upcast(),
            _ => self.on_device(&dims, &values.collect::<Vec<_>>())?.upcast(),
        })
    }

    /// `[texts, dim]`, row-major, and the tokens that were computed.
    pub(crate) fn run(&mut self, texts: &[&[u32]]) -> Result<(Vec<f32>, usize), BatchError> {
        let lengths = texts.iter().map(|text| text.len());
        let values = match Shape::fitting(lengths.clone()).filter(|shape| self.captured.contains_key(shape)) {
            Some(shape) => (self.replay(shape, &layout(texts, shape, self.pooling), texts.len())?, shape.tokens),
            None => {
                let shape = Shape::exact(lengths);
                (self.run_once(shape, layout(texts, shape, self.pooling))?, shape.tokens)
            }
        };
        Ok(values)
    }

    fn replay(&mut self, shape: Shape, layout: &Layout, texts: usize) -> Result<Vec<f32>, BatchError> {
        let captured = &self.captured[&shape];
        self.copier.write(captured.ids, &layout.ids)?;
        self.copier.write(captured.positions, &layout.positions)?;
        self.copier.write(captured.owners, &layout.owners)?;
        self.copier.write(captured.starts, &layout.starts)?;
        self.session.run_binding_with_options(&captured.binding, &captured.options)?;
        let mut values = vec![0.0; texts * self.dim];
        self.copier.read(captured.vectors, &mut values)?;
        Ok(values)
    }

    fn run_once(&mut self, shape: Shape, layout: Layout) -> Result<Vec<f32>, BatchError> {
        let (tokens, rows) = (shape.tokens, shape.rows);
        let mut binding = self.session.create_binding()?;
        self.bound(&mut binding, "ids", &[tokens], &layout.ids)?;
        self.bound(&mut binding, "pos", &[1, tokens], &layout.positions)?;
        self.bound(&mut binding, "seg", &[1, tokens], &layout.owners)?;
        self.bound(&mut binding, "cu", &[rows + 1], &layout.starts)?;
        self.bind_fixed(&mut binding, shape)?;
        let vectors = Tensor::<f32>::new(&self.device, [rows, self.dim])?;
        let at = DeviceTensor::of(&vectors);
        binding.bind_output("embedding", vectors)?;
        self.session.run_binding_with_options(&binding, &self.without_graph)?;
        let mut values = vec![0.0; rows * self.dim];
        self.copier.read(at, &mut values)?;
        Ok(values)
    }
}
