//! Samples on a thread of its own, at a fixed pace, and keeps them.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use em_api::Timestamp;
use em_api::measurement::Series;
use jiff::SignedDuration;

use crate::gpu::{self, Gpu, GpuSample};
use crate::process::{Tree, TreeSample};
use crate::series;

/// What is sampled.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Leader of the service's process group; its whole tree and group. Absent: a service that was not started by us.
    pub root_pid: Option<u32>,
    /// Whether the job has GPUs: then all that are visible.
    pub gpus: bool,
}

/// The last sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    pub at: Timestamp,
    /// Of the process tree: mean since the sample before.
    pub cpu_cores: Option<f64>,
    /// Of the process tree: proportional set size, at most a second old.
    pub memory_bytes: Option<u64>,
    pub threads: Option<u32>,
    pub processes: Option<u32>,
    /// 0..1, mean over the job's GPUs.
    pub gpu_utilization: Option<f64>,
    pub gpus: Vec<GpuSample>,
}

/// One reading of everything.
pub(crate) struct Sample {
    /// Since the sampler was started.
    pub(crate) at: Duration,
    /// Absent once the root has ended.
    pub(crate) tree: Option<TreeSample>,
    pub(crate) gpus: Vec<GpuSample>,
}

/// Samples until it is stopped or dropped, or until there is nothing left to sample: the root has ended and no GPU is watched.
pub struct Sampler {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    origin: Instant,
    origin_at: Timestamp,
    stop: AtomicBool,
    ended: AtomicBool,
    samples: Mutex<VecDeque<Sample>>,
}

/// Seven hours at 10 Hz; older samples are let go.
const KEPT: usize = 250_000;
/// What is dear to read of a GPU is read this often.
const RARE_EVERY: Duration = Duration::from_secs(1);

impl Sampler {
    /// `period`: 100 ms is the rule. Errors: there is no thread to be had.
    pub fn start(target: Target, period: Duration) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            origin: Instant::now(),
            origin_at: Timestamp::now(),
            stop: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            samples: Mutex::new(VecDeque::new()),
        });
        let thread = thread::Builder::new().name("telemetry".to_owned()).spawn({
            let shared = shared.clone();
            move || {
                run(target, period.max(Duration::from_millis(1)), &shared);
                shared.ended.store(true, Ordering::Release);
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// `None` before the first sample, and when there is nothing left to sample.
    pub fn latest(&self) -> Option<Snapshot> {
        if self.shared.ended.load(Ordering::Acquire) {
            return None;
        }
        let samples = self.shared.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let sample = samples.back()?;
        let at = SignedDuration::try_from(sample.at).ok().and_then(|since| self.shared.origin_at.checked_add(since).ok());
        let mut gpus = sample.gpus.clone();
        for (at, gpu) in gpus.iter_mut().enumerate() {
            // Not in every sample; a counter's last reading stays true.
            let mut readings = samples.iter().rev().take(256).filter_map(|sample| sample.gpus.get(at)?.energy_joules);
            gpu.energy_joules = readings.next();
        }
        let rates: Vec<f64> = sample.gpus.iter().filter_map(|gpu| gpu.utilization_ratio).collect();
        Some(Snapshot {
            at: at.unwrap_or(self.shared.origin_at),
            cpu_cores: sample.tree.and_then(|tree| tree.cpu_cores),
            memory_bytes: sample.tree.map(|tree| tree.memory_bytes),
            threads: sample.tree.map(|tree| tree.threads),
            processes: sample.tree.map(|tree| tree.processes),
            gpu_utilization: (!rates.is_empty()).then(|| rates.iter().sum::<f64>() / rates.len() as f64),
            gpus,
        })
    }

    /// Samples from `from` until before `to`; `t_ms` counts from `from`. CPU of the first one reaches back to the one before.
    pub fn series(&self, from: Timestamp, to: Timestamp) -> Series {
        let samples = self.shared.samples.lock().unwrap_or_else(PoisonError::into_inner);
        series::cut(samples.iter(), self.shared.origin_at, from, to)
    }

    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic in the thread was printed there; sampling is not worth another.
            let _ = thread.join();
        }
    }
}

fn run(target: Target, period: Duration, shared: &Shared) {
    let mut tree = target.root_pid.and_then(Tree::of);
    let nvml = if target.gpus { open_gpus() } else { None };
    let mut gpus = match nvml.as_ref().map(gpu::visible_devices) {
        Some(Ok(devices)) => devices.into_iter().filter_map(|device| Gpu::new(device).ok()).collect(),
        Some(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "GPUs are not sampled");
            Vec::new()
        }
        None => Vec::new(),
    };
    let mut due = Instant::now();
    let mut rare_due = due;
    while !shared.stop.load(Ordering::Acquire) {
        let at = shared.origin.elapsed();
        let tree_sample = tree.as_mut().and_then(Tree::sample);
        if tree_sample.is_none() {
            tree = None;
        }
        if tree.is_none() && gpus.is_empty() {
            return;
        }
        let rare = Instant::now() >= rare_due;
        if rare {
            rare_due += RARE_EVERY;
        }
        let ours = tree.as_ref().map(|tree| |pid: u32| tree.contains(pid));
        let ours = ours.as_ref().map(|ours| ours as &dyn Fn(u32) -> bool);
        let gpus = gpus.iter_mut().map(|gpu| gpu.sample(rare, ours)).collect();
        push(shared, Sample { at, tree: tree_sample, gpus });
        due = next_due(due, period);
        sleep_until(due, shared);
    }
}

fn open_gpus() -> Option<nvml_wrapper::Nvml> {
    match gpu::open() {
        Ok(nvml) => nvml,
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "GPUs are not sampled");
            None
        }
    }
}

fn push(shared: &Shared, sample: Sample) {
    let mut samples = shared.samples.lock().unwrap_or_else(PoisonError::into_inner);
    if samples.len() == KEPT {
        samples.pop_front();
    }
    samples.push_back(sample);
}

/// The next multiple of the period that is not past: after a hold-up samples are left out, never bunched.
fn next_due(due: Instant, period: Duration) -> Instant {
    let late = due.elapsed().as_nanos() / period.as_nanos();
    due + period * u32::try_from(late + 1).unwrap_or(u32::MAX)
}

fn sleep_until(due: Instant, shared: &Shared) {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() || shared.stop.load(Ordering::Acquire) {
            return;
        }
        thread::park_timeout(left);
    }
}
