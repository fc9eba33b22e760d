//! Work on the shared file system, each with a deadline: a hung NFS server must not hang the reconciler. A thread that is stuck there
//! cannot be stopped, so nothing further is begun for its experiment until it returns, and while the disk is suspect others only
//! try it now and then. A slow reading that ends late is used, not repeated.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use em_api::ExperimentUid;
use tokio::task::JoinHandle;

use crate::clock;
use crate::metrics::Metrics;
use crate::supervise::panic_text;

/// After a piece of work was late: between two tries of anything, until one succeeds.
const PROBE_GAP: Duration = Duration::from_secs(5);
/// Of such a try.
const PROBE_DEADLINE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    LookForInputs,
    ReadWitness,
    ReadOutput,
    WriteJob,
    ReadSpool,
    RemoveFolder,
}

impl Work {
    fn word(self) -> &'static str {
        match self {
            Self::LookForInputs => "inputs",
            Self::ReadWitness => "witness",
            Self::ReadOutput => "output",
            Self::WriteJob => "write",
            Self::ReadSpool => "spool",
            Self::RemoveFolder => "remove",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum DiskError {
    /// No answer within the deadline; the thread is still at it.
    #[error("the file system has not answered for {} s", .0.as_secs())]
    Late(Duration),
    /// Others were late just now; not tried.
    #[error("the file system did not answer a moment ago")]
    Suspect,
    #[error("failed inside itself: {0}")]
    Panicked(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

pub(super) struct Disk {
    deadline: Duration,
    metrics: Metrics,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    late: HashMap<ExperimentUid, Vec<Late>>,
    /// While the disk is suspect: when it may be tried again.
    next_probe: Option<Instant>,
}

struct Late {
    work: Work,
    path: PathBuf,
    since: Instant,
    task: JoinHandle<Box<dyn Any + Send>>,
}

enum Turn {
    Begin(Duration),
    /// It was begun before and has ended since.
    Ended(Late),
}

impl Disk {
    pub(super) fn new(deadline: Duration, metrics: Metrics) -> Self {
        Self { deadline, metrics, state: Mutex::default() }
    }

    /// Does blocking work at `path` for an experiment on a thread of its own.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        uid: ExperimentUid,
        work: Work,
        path: &Path,
        act: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, DiskError> {
        let turn = self.turn(uid, work, path).inspect_err(|_| self.count(work, "late"))?;
        let begin = clock::instant();
        let ended = match turn {
            Turn::Ended(late) => late.task.await,
            Turn::Begin(deadline) => {
                let mut task = tokio::task::spawn_blocking(move || Box::new(act()) as Box<dyn Any + Send>);
                match tokio::time::timeout(deadline, &mut task).await {
                    Ok(ended) => ended,
                    Err(_) => {
                        self.count(work, "late");
                        let mut state = self.state();
                        state.next_probe = Some(clock::instant() + PROBE_GAP);
                        state.late.entry(uid).or_default().push(Late { work, path: path.to_owned(), since: begin, task });
                        return Err(DiskError::Late(deadline));
                    }
                }
            }
        };
        self.state().next_probe = None;
        match ended {
            Ok(result) => {
                self.count(work, "done");
                let result = result.downcast::<T>().expect("one kind of work at one path has one type");
                Ok(*result)
            }
            Err(error) => {
                self.count(work, "panic");
                let words = error.try_into_panic().map_or_else(|error| error.to_string(), |panic| panic_text(panic.as_ref()));
                Err(DiskError::Panicked(words))
            }
        }
    }

    /// How many pieces of work are stuck. Forgets what ended late for experiments that are not open.
    pub(super) fn stuck(&self, open: &HashSet<ExperimentUid>) -> i64 {
        let mut state = self.state();
        for (uid, late) in &mut state.late {
            late.retain(|one| !one.task.is_finished() || (one.work.is_kept() && open.contains(uid)));
        }
        state.late.retain(|_, late| !late.is_empty());
        let stuck = state.late.values().flatten().filter(|one| !one.task.is_finished()).count();
        i64::try_from(stuck).unwrap_or(i64::MAX)
    }

    fn turn(&self, uid: ExperimentUid, work: Work, path: &Path) -> Result<Turn, DiskError> {
        let now = clock::instant();
        let mut state = self.state();
        if let Some(late) = state.late.get_mut(&uid) {
            let same = |one: &Late| one.work == work && one.path == path && one.task.is_finished() && work.is_kept();
            if let Some(index) = late.iter().position(same) {
                return Ok(Turn::Ended(late.swap_remove(index)));
            }
            late.retain(|one| !one.task.is_finished() || one.work.is_kept());
            if let Some(stuck) = late.iter().find(|one| !one.task.is_finished()) {
                return Err(DiskError::Late(now.saturating_duration_since(stuck.since)));
            }
        }
        match state.next_probe {
            None => Ok(Turn::Begin(self.deadline)),
            Some(at) if now < at => Err(DiskError::Suspect),
            Some(_) => {
                state.next_probe = Some(now + PROBE_GAP);
                Ok(Turn::Begin(PROBE_DEADLINE.min(self.deadline)))
            }
        }
    }

    fn count(&self, work: Work, outcome: &str) {
        self.metrics.disk_operations.with_label_values(&[work.word(), outcome]).inc();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    /// Whether what ended late is still true.
    fn is_kept(self) -> bool {
        matches!(self, Self::ReadSpool)
    }
}

/// What a person does about an error of the file system.
pub(super) fn cure(error: &DiskError, path: &Path) -> String {
    let at = path.display();
    let DiskError::Io(error) = error else {
        return format!(
            "{error}. Look at the mount of {at} (does `ls {at}` return?); it goes on by itself when the file system answers"
        );
    };
    let what = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!("free space there (`df -h {at}`, or your quota)"),
        io::ErrorKind::ReadOnlyFilesystem => "the file system is mounted read-only: mount it for writing".to_owned(),
        io::ErrorKind::PermissionDenied => "give the server's account the right to write there".to_owned(),
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => "move away what is in the way of the folder".to_owned(),
        _ => "look at the space and rights of --job-dir".to_owned(),
    };
    format!("{error}, at {at}: {what}. It goes on by itself")
}
