//! Jobs without Slurm: the same script as a process of this machine, queued, limited in time and cancelled as Slurm would do it.
//!
//! The queue is a directory, and nothing is kept in memory that is not there: a server may be killed at any moment and the next one
//! goes on. Each job has a supervisor of its own, which needs no server. Linux only (`/proc`, prctl(2)), with bash.

mod files;
mod fit;
mod gpus;
mod machine;
mod queue;
mod record;
mod request;
mod supervisor;
mod view;

use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use async_trait::async_trait;

use crate::cli::findable;
use crate::scheduler::{CancelError, ReadError, Scheduler, SubmitError, Submitted};
use crate::{ClusterView, Gres, JobScript, JobView, Limits, Node, Partition, SCRIPT_FILE};
pub use gpus::LocalGpus;
use machine::Machine;
use queue::{AddError, Queue};
use request::Request;

/// Cluster and partition of a machine without either; the name in errors.
const NAME: &str = "local";

#[derive(Clone, Debug)]
pub struct LocalSettings {
    /// The queue and its records, on a local disk (flock(2)). Processes may share it; they share the queue then.
    pub state_dir: PathBuf,
    /// How many jobs run at one time. One, unless jobs may disturb each other's measurements.
    pub jobs_at_once: NonZeroUsize,
    pub gpus: LocalGpus,
    /// From TERM to KILL, at the time limit and when a job is cancelled (slurm.conf(5), `KillWait`).
    pub kill_wait: Duration,
    /// How long before the time limit TERM goes to the script's shell, as `--signal=B:TERM@90` asks.
    pub signal_lead: Duration,
    /// How long a minute of a time limit lasts. Tests shorten it.
    pub minute: Duration,
    /// Variables of our environment passed on to the jobs, beside the short list of `environment.rs`.
    pub pass_env: Vec<String>,
    /// How long the record of a job that is over is kept.
    pub keep: Duration,
}

impl LocalSettings {
    /// One job at a time, no GPUs, Slurm's default `KillWait`, records for 30 days.
    pub fn new(state_dir: PathBuf) -> Self {
        Self {
            state_dir,
            jobs_at_once: NonZeroUsize::MIN,
            gpus: LocalGpus::default(),
            kill_wait: Duration::from_secs(30),
            signal_lead: Duration::from_secs(90),
            minute: Duration::from_secs(60),
            pass_env: Vec::new(),
            keep: Duration::from_secs(30 * 24 * 3600),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("looking at this machine (/proc is needed)")]
    Machine(#[source] io::Error),
    #[error("using {} for the queue of local jobs", path.display())]
    StateDir {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Between calls a thread looks once a second, so that the queue moves by itself. Dropping this stops the queue; jobs that run go on.
pub struct LocalScheduler {
    queue: Arc<Queue>,
    _thread: mpsc::Sender<()>,
}

const LOOK_EVERY: Duration = Duration::from_secs(1);

impl LocalScheduler {
    /// Opens the queue and adopts its jobs.
    pub fn new(settings: LocalSettings) -> Result<Self, LocalError> {
        let machine = Machine::look(settings.gpus.clone()).map_err(LocalError::Machine)?;
        let path = settings.state_dir.clone();
        let queue = Queue::open(settings, machine).and_then(|queue| queue.pass().map(|_| queue));
        let queue = Arc::new(queue.map_err(|source| LocalError::StateDir { path: path.clone(), source })?);
        let (thread, stop) = mpsc::channel();
        let moved = Arc::clone(&queue);
        std::thread::Builder::new()
            .name("local-queue".to_owned())
            .spawn(move || keep_looking(&moved, &stop))
            .map_err(|source| LocalError::StateDir { path, source })?;
        Ok(Self { queue, _thread: thread })
    }

    async fn off_thread<T: Send + 'static>(&self, work: impl FnOnce(&Queue) -> io::Result<T> + Send + 'static) -> io::Result<T> {
        let queue = Arc::clone(&self.queue);
        tokio::task::spawn_blocking(move || work(&queue)).await.map_err(io::Error::other)?
    }
}

fn keep_looking(queue: &Queue, stop: &mpsc::Receiver<()>) {
    let mut said = String::new();
    while stop.recv_timeout(LOOK_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
        let trouble = queue.pass().err().map(|error| error.to_string()).unwrap_or_default();
        if !trouble.is_empty() && trouble != said {
            tracing::warn!("the queue of local jobs stands still: {trouble}");
        }
        said = trouble;
    }
}

#[async_trait]
impl Scheduler for LocalScheduler {
    fn kind(&self) -> &'static str {
        NAME
    }

    async fn submit(&self, job: &JobScript) -> Result<Submitted, SubmitError> {
        findable(&job.name)?;
        let refused = |stderr| SubmitError::Rejected { stderr };
        let request = Request::of(&job.options, &self.queue.machine).map_err(refused)?;
        let (queue, job) = (Arc::clone(&self.queue), job.clone());
        let added = tokio::task::spawn_blocking(move || {
            let text = read_script(&job)?;
            let id = queue.add(&job, request, &text).map_err(|error| match error {
                AddError::NotAdded(error) => SubmitError::Unreachable { stderr: format!("the local queue: {error}") },
                AddError::Uncertain(error) => SubmitError::Ambiguous { detail: format!("the local queue: {error}") },
            })?;
            // It is in the queue, whatever this says.
            if let Err(error) = queue.pass() {
                tracing::warn!(job = id, %error, "the queue of local jobs could not be looked at");
            }
            Ok(Submitted { id: id.to_string(), cluster: None })
        });
        added.await.unwrap_or_else(|error| Err(SubmitError::Ambiguous { detail: error.to_string() }))
    }

    async fn list(&self, name_prefix: &str) -> Result<Vec<JobView>, ReadError> {
        let mut jobs = self.off_thread(Queue::pass).await.map_err(read_error)?;
        jobs.retain(|job| job.name.starts_with(name_prefix));
        Ok(jobs)
    }

    /// The queue itself remembers its jobs.
    async fn accounted(&self, _names: &[&str]) -> Result<Vec<JobView>, ReadError> {
        Ok(Vec::new())
    }

    async fn cancel(&self, id: &str) -> Result<(), CancelError> {
        // No such id was ever given.
        let Ok(number) = id.parse::<u64>() else { return Ok(()) };
        let cancelled = self.off_thread(move |queue| queue.cancel(number)).await;
        cancelled.map_err(|error| CancelError::Unreachable { id: id.to_owned(), stderr: format!("the local queue: {error}") })
    }

    /// This machine as a cluster of one partition and one node.
    async fn cluster(&self) -> Result<ClusterView, ReadError> {
        let ((cpus, memory_mb, gpus), machine) = (self.off_thread(Queue::in_use).await.map_err(read_error)?, &self.queue.machine);
        let state = if cpus == 0 {
            "IDLE"
        } else if cpus < machine.cpus.len() {
            "MIXED"
        } else {
            "ALLOCATED"
        };
        let count = machine.gpus.devices.len() as u64;
        let gres = Gres { kind: "gpu".to_owned(), model: machine.gpus.model.clone(), count, used: gpus as u64 };
        let node = Node {
            name: machine.host.clone(),
            state: state.to_owned(),
            reason: None,
            cpus: u32::try_from(machine.cpus.len()).unwrap_or(u32::MAX),
            cpus_allocated: u32::try_from(cpus).unwrap_or(u32::MAX),
            memory_mb: machine.memory_mb,
            memory_allocated_mb: memory_mb,
            gres: if count > 0 { vec![gres] } else { Vec::new() },
            features: Vec::new(),
        };
        let partition = Partition {
            name: NAME.to_owned(),
            default: true,
            state: "UP".to_owned(),
            nodes: vec![node.name.clone()],
            ..Partition::default()
        };
        let limits = Limits::default();
        Ok(ClusterView { name: Some(NAME.to_owned()), version: None, partitions: vec![partition], nodes: vec![node], limits })
    }
}

/// The job runs what the script says now, as under Slurm. sbatch refuses the same texts.
fn read_script(job: &JobScript) -> Result<Vec<u8>, SubmitError> {
    let path = job.job_dir.join(SCRIPT_FILE);
    let text = std::fs::read(&path)
        .map_err(|error| SubmitError::Rejected { stderr: format!("Unable to open file {}: {error}", path.display()) })?;
    if !text.starts_with(b"#!") {
        return Err(SubmitError::Rejected { stderr: "This does not look like a batch script: it must begin with #!".to_owned() });
    }
    Ok(text)
}

fn read_error(error: io::Error) -> ReadError {
    match error.kind() {
        io::ErrorKind::InvalidData => ReadError::Unreadable { program: NAME, detail: error.to_string() },
        _ => ReadError::Unreachable { program: NAME, stderr: error.to_string() },
    }
}
