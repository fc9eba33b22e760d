//! What a service uses while it is measured: CPU and memory of its process tree, and the GPUs of the job through NVML.
//!
//! A [`Sampler`] reads on a thread of its own and keeps the samples; [`Sampler::series`] cuts out a measured window.
//! [`visible_gpus`] and [`environment`] describe the machine; [`Exposition`] shows the last sample to Prometheus. What cannot be
//! read is absent, never zero. Nothing here knows of experiments or load.

mod environment;
mod exposition;
mod gpu;
mod process;
mod sampler;
mod series;
mod visible;

pub use environment::environment;
pub use exposition::Exposition;
pub use gpu::{GpuError, GpuSample, visible_gpus};
pub use sampler::{Sampler, Snapshot, Target};
