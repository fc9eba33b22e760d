//! Follows the log file of a service and sends a bounded part of it as records.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use em_api::TrialId;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::log_budget::LogBudget;
use super::records::Recorder;

const EVERY: Duration = Duration::from_millis(250);
const CHUNK: usize = 64 * 1024;
/// A line without an end is sent in pieces rather than kept.
const LONGEST_PARTIAL: usize = 1024 * 1024;

/// Ends with [`LogTail::end`]; it then has sent what was in the file.
pub(crate) struct LogTail {
    trial: Arc<Mutex<Option<TrialId>>>,
    end: CancellationToken,
    task: JoinHandle<()>,
}

impl LogTail {
    /// The file need not be there yet.
    pub(crate) fn follow(path: PathBuf, recorder: Recorder, backend: String) -> Self {
        let trial = Arc::new(Mutex::new(None));
        let end = CancellationToken::new();
        let reader = Reader {
            recorder,
            backend,
            trial: Arc::clone(&trial),
            last_trial: None,
            budget: LogBudget::new(Instant::now()),
            partial: Vec::new(),
        };
        let task = tokio::spawn(reader.run(path, end.clone()));
        Self { trial, end, task }
    }

    /// From now on lines belong to `trial`.
    pub(crate) fn of_trial(&self, trial: Option<TrialId>) {
        *self.trial.lock().unwrap_or_else(PoisonError::into_inner) = trial;
    }

    pub(crate) async fn end(self) {
        self.end.cancel();
        let _ = self.task.await;
    }
}

struct Reader {
    recorder: Recorder,
    backend: String,
    trial: Arc<Mutex<Option<TrialId>>>,
    last_trial: Option<TrialId>,
    budget: LogBudget,
    partial: Vec<u8>,
}

impl Reader {
    async fn run(mut self, path: PathBuf, end: CancellationToken) {
        let mut file = None;
        let mut chunk = vec![0; CHUNK];
        loop {
            let last = end.is_cancelled();
            if file.is_none() {
                file = File::open(&path).await.ok();
            }
            if let Some(file) = &mut file {
                while let Ok(bytes @ 1..) = file.read(&mut chunk).await {
                    self.take(&chunk[..bytes]);
                }
            }
            if last {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = end.cancelled() => {}
            }
        }
        if !self.partial.is_empty() {
            self.take(b"\n");
        }
        if let Some(note) = self.budget.note() {
            self.send(note);
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        let trial = *self.trial.lock().unwrap_or_else(PoisonError::into_inner);
        if trial != self.last_trial {
            self.last_trial = trial;
            self.budget.next_trial();
        }
        if self.partial.len() > LONGEST_PARTIAL && !self.partial.contains(&b'\n') {
            self.partial.push(b'\n');
        }
        let Some(end) = self.partial.iter().rposition(|&byte| byte == b'\n') else { return };
        let rest = self.partial.split_off(end + 1);
        let whole = std::mem::replace(&mut self.partial, rest);
        for line in String::from_utf8_lossy(&whole).lines() {
            // Progress bars overwrite a line: the last state is what a terminal would show.
            let line = line.rsplit('\r').next().unwrap_or(line).trim_end();
            if !line.is_empty() {
                for line in self.budget.admit(Instant::now(), line) {
                    self.send(line);
                }
            }
        }
    }

    fn send(&self, line: String) {
        self.recorder.log("service", self.last_trial, Some(&self.backend), line);
    }
}
