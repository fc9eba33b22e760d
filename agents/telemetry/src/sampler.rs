//! Samples on threads of its own, at a fixed pace, and keeps them. What is dear to read of GPUs is read once a second by a second
//! thread: energy counters take milliseconds of CPU, PCIe counters wait, and neither may hold up the others.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use em_api::Timestamp;
use em_api::measurement::Series;
use jiff::SignedDuration;
use nvml_wrapper::Nvml;
use rustix::time::{ClockId, clock_gettime};

use crate::gpu::{self, Gpu, GpuSample};
use crate::process::{Tree, TreeSample, belongs, lives};
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

/// One reading by one of the two threads.
pub(crate) struct Sample {
    /// Since the sampler was started.
    pub(crate) at: Duration,
    /// Of the thread that reads once a second what is dear: no process tree.
    pub(crate) rare: bool,
    /// Absent once the root has ended.
    pub(crate) tree: Option<TreeSample>,
    pub(crate) gpus: Vec<GpuSample>,
    /// CPU time that both threads had used by then.
    pub(crate) cpu: Duration,
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
    /// In the order of their times.
    samples: Mutex<VecDeque<Sample>>,
    /// CPU time of the two threads, nanoseconds.
    cpu_ns: [AtomicU64; 2],
}

/// Of [`Shared::cpu_ns`].
const FREQUENT: usize = 0;
const RARE: usize = 1;

/// More than six hours at 10 Hz; older samples are let go.
const KEPT: usize = 250_000;
/// What is dear to read of a GPU is read this often.
const RARE_EVERY: Duration = Duration::from_secs(1);
/// A reading of that may stand in a later snapshot for so long.
const RARE_HOLDS: Duration = Duration::from_millis(2_500);

impl Sampler {
    /// `period`: 100 ms is the rule. Errors: there is no thread to be had.
    pub fn start(target: Target, period: Duration) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            origin: Instant::now(),
            origin_at: Timestamp::now(),
            stop: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            samples: Mutex::new(VecDeque::new()),
            cpu_ns: [AtomicU64::new(0), AtomicU64::new(0)],
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
        let newest = samples.back()?.at;
        let recent = || samples.iter().rev().take_while(|sample| newest.saturating_sub(sample.at) <= RARE_HOLDS);
        let tree = recent().find(|sample| !sample.rare).and_then(|sample| sample.tree);
        let at = SignedDuration::try_from(newest).ok().and_then(|since| self.shared.origin_at.checked_add(since).ok());
        let gpus = recent()
            .map(|sample| sample.gpus.clone())
            .reduce(|later, earlier| later.into_iter().zip(&earlier).map(|(later, earlier)| later.or(earlier)).collect());
        let gpus = gpus.unwrap_or_default();
        let rates: Vec<f64> = gpus.iter().filter_map(|gpu| gpu.utilization_ratio).collect();
        Some(Snapshot {
            at: at.unwrap_or(self.shared.origin_at),
            cpu_cores: tree.and_then(|tree| tree.cpu_cores),
            memory_bytes: tree.map(|tree| tree.memory_bytes),
            threads: tree.map(|tree| tree.threads),
            processes: tree.map(|tree| tree.processes),
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
    let tree = target.root_pid.and_then(Tree::of);
    let root = tree.as_ref().and(target.root_pid);
    let nvml = if target.gpus { open_gpus() } else { None };
    let gpus = nvml.as_ref().map(job_gpus).unwrap_or_default();
    thread::scope(|scope| {
        let dear = || rare(&gpus, root, shared);
        let second = (!gpus.is_empty()).then(|| thread::Builder::new().name("telemetry-rare".to_owned()).spawn_scoped(scope, dear));
        if let Some(Err(error)) = &second {
            tracing::warn!("energy, PCIe and processes of GPUs are not sampled: {error}");
        }
        frequent(tree, &gpus, period, shared);
        if let Some(Ok(second)) = second {
            second.thread().unpark();
        }
    });
}

fn open_gpus() -> Option<Nvml> {
    match gpu::open() {
        Ok(nvml) => nvml,
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "GPUs are not sampled");
            None
        }
    }
}

fn job_gpus(nvml: &Nvml) -> Vec<Gpu<'_>> {
    let devices = gpu::visible_devices(nvml).and_then(|devices| {
        devices.into_iter().enumerate().map(|(place, device)| Gpu::new(nvml, device, place)).collect::<Result<Vec<_>, _>>()
    });
    devices.unwrap_or_else(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "GPUs are not sampled");
        Vec::new()
    })
}

/// Until it is stopped, or nothing is left to sample.
fn frequent(mut tree: Option<Tree>, gpus: &[Gpu<'_>], period: Duration, shared: &Shared) {
    let mut due = Instant::now();
    while !shared.stop.load(Ordering::Acquire) {
        let at = shared.origin.elapsed();
        let tree_sample = tree.as_mut().and_then(Tree::sample);
        if tree_sample.is_none() {
            tree = None;
        }
        if tree.is_none() && gpus.is_empty() {
            return;
        }
        shared.push(FREQUENT, at, tree_sample, gpus.iter().map(Gpu::frequent).collect());
        due = next_due(due, period);
        sleep_until(due, shared);
    }
}

/// Until it is stopped: a GPU is there to sample even when the service is not.
fn rare(gpus: &[Gpu<'_>], root: Option<u32>, shared: &Shared) {
    let mut activities: Vec<_> = gpus.iter().map(Gpu::activity).collect();
    let mut due = Instant::now();
    while !shared.stop.load(Ordering::Acquire) {
        let at = shared.origin.elapsed();
        let ours = root.filter(|root| lives(*root)).map(|root| move |pid: u32| belongs(pid, root));
        let ours = ours.as_ref().map(|ours| ours as &dyn Fn(u32) -> bool);
        let read = gpus.iter().zip(&mut activities).map(|(gpu, activity)| gpu.rare(activity, ours)).collect();
        shared.push(RARE, at, None, read);
        due = next_due(due, RARE_EVERY);
        sleep_until(due, shared);
    }
}

impl Shared {
    /// `thread`: the caller.
    fn push(&self, thread: usize, at: Duration, tree: Option<TreeSample>, gpus: Vec<GpuSample>) {
        let used = clock_gettime(ClockId::ThreadCPUTime);
        let used = u64::try_from(used.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(used.tv_nsec).unwrap_or(0);
        self.cpu_ns[thread].store(used, Ordering::Relaxed);
        let cpu = Duration::from_nanos(self.cpu_ns.iter().map(|ns| ns.load(Ordering::Relaxed)).sum());
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == KEPT {
            samples.pop_front();
        }
        // What took longer to read comes in later than what was begun after it.
        let place = samples.partition_point(|sample| sample.at <= at);
        samples.insert(place, Sample { at, rare: thread == RARE, tree, gpus, cpu });
    }
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
