//! The load generator: `em-agent load` as a child process in a group of its own, so that what Goose keeps for the whole
//! process stays there and its CPU time can be told from ours.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use em_api::TrialId;
use em_api::measurement::LoadReport;
use em_load::{LoadPlan, Progress};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;

use super::log_budget::LogBudget;
use super::records::Recorder;
use crate::orphan;

/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
const TAIL_BYTES: usize = 8 * 1024;

pub(crate) struct Generator {
    child: Child,
    /// `None` at the end of its output.
    progress: Option<Lines<BufReader<ChildStdout>>>,
    /// Sends its messages on and returns the last of them.
    messages: JoinHandle<String>,
    report: PathBuf,
}

pub(crate) enum Event {
    Progress(Progress),
    Ended(io::Result<ExitStatus>),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum GeneratorError {
    #[error("writing the load generator's plan {path}")]
    Plan {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("starting the load generator {program}")]
    Spawn {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Generator {
    /// `folder` takes its plan and its report. `exe`: this very program.
    pub(crate) fn start(
        exe: &Path,
        folder: &Path,
        plan: &LoadPlan,
        recorder: &Recorder,
        trial: TrialId,
    ) -> Result<Self, GeneratorError> {
        let path = folder.join("plan.json");
        let report = folder.join("report.json");
        let json = serde_json::to_vec_pretty(plan).expect("a load plan is plain data");
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, json))
            .map_err(|source| GeneratorError::Plan { path: path.clone(), source })?;
        let mut child = Command::new(exe)
            .args(["load", "--progress-json", "--plan"])
            .arg(&path)
            .arg("--out")
            .arg(&report)
            .env(orphan::VARIABLE, std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| GeneratorError::Spawn { program: exe.to_owned(), source })?;
        let stdout = child.stdout.take().expect("piped above");
        let stderr = child.stderr.take().expect("piped above");
        let messages = tokio::spawn(forward(BufReader::new(stderr), recorder.clone(), trial));
        Ok(Self { child, progress: Some(BufReader::new(stdout).lines()), messages, report })
    }

    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> Event {
        let Self { child, progress, .. } = self;
        tokio::select! {
            biased;
            progress = next_progress(progress) => Event::Progress(progress),
            ended = child.wait() => Event::Ended(ended),
        }
    }

    /// Ends the whole group: asked first, then forced.
    pub(crate) async fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        if tokio::time::timeout(GRACE, self.child.wait()).await.is_err() {
            self.signal(Signal::KILL);
            let _ = self.child.wait().await;
        }
        self.last_messages().await
    }

    fn signal(&self, signal: Signal) {
        let group = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(group) = group {
            // Already gone: that is what is wanted.
            let _ = kill_process_group(group, signal);
        }
    }

    /// After it ended: its report, or why there is none.
    pub(crate) async fn report(self, status: ExitStatus) -> Result<Box<LoadReport>, Failure> {
        let path = self.report.clone();
        let messages = self.last_messages().await;
        if !status.success() {
            let last = messages.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
            return Err(Failure { message: format!("the load generator ended with {status}: {last}"), messages });
        }
        let read = tokio::fs::read(&path).await.and_then(|json| serde_json::from_slice(&json).map_err(io::Error::from));
        read.map_err(|problem| Failure {
            message: format!("the load generator's report {} is unusable: {problem}", path.display()),
            messages,
        })
    }

    async fn last_messages(self) -> String {
        tokio::time::timeout(GRACE, self.messages).await.ok().and_then(Result::ok).unwrap_or_default()
    }
}

#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) message: String,
    /// The end of what the generator wrote to its standard error.
    pub(crate) messages: String,
}

/// Pends for ever after the last line.
async fn next_progress(progress: &mut Option<Lines<BufReader<ChildStdout>>>) -> Progress {
    while let Some(lines) = progress {
        match lines.next_line().await {
            // Goose prints a line of its own on some paths: that is no progress and no error.
            Ok(Some(line)) => {
                if let Ok(progress) = serde_json::from_str(&line) {
                    return progress;
                }
            }
            Ok(None) | Err(_) => *progress = None,
        }
    }
    std::future::pending().await
}

async fn forward(stderr: impl AsyncBufReadExt + Unpin, recorder: Recorder, trial: TrialId) -> String {
    let mut budget = LogBudget::new(Instant::now());
    let mut tail: VecDeque<String> = VecDeque::new();
    let mut tail_bytes = 0;
    let mut lines = stderr.lines();
    while let Ok(Some(line)) = lines.next_line().await {
        for line in budget.admit(Instant::now(), &line) {
            recorder.log("load", Some(trial), None, line.clone());
            tail_bytes += line.len() + 1;
            tail.push_back(line);
        }
        while tail_bytes > TAIL_BYTES {
            tail_bytes -= tail.pop_front().map_or(tail_bytes, |line| line.len() + 1);
        }
    }
    tail.make_contiguous().join("\n")
}
