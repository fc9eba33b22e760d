//! Runs one command of Slurm's with a deadline, and an environment that we choose.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::CliSettings;
use crate::environment::inherited;

/// Far above what 100,000 jobs take; a command that prints more runs into its deadline.
const LONGEST_OUTPUT: u64 = 256 * 1024 * 1024;

pub(super) struct Call {
    program: &'static str,
    args: Vec<String>,
    cwd: Option<PathBuf>,
    env: Vec<(&'static str, &'static str)>,
}

#[derive(Debug)]
pub(super) struct Output {
    /// Absent when a signal ended the command.
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Output {
    pub(super) fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// What the command said, for people.
    pub(super) fn words(&self) -> String {
        let text = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        match (text.trim(), self.code) {
            ("", Some(code)) => format!("no words, exit code {code}"),
            ("", None) => "killed by a signal".to_owned(),
            (text, _) => text.to_owned(),
        }
    }
}

#[derive(Debug)]
pub(super) enum RunError {
    /// Nothing ran.
    Spawn { program: &'static str, source: io::Error },
    /// Killed by us. What it had said until then.
    TimedOut { after: Duration, stderr: String },
    /// It ran, and its answer could not be read.
    Lost { source: io::Error },
}

impl Call {
    pub(super) fn new(program: &'static str) -> Self {
        Self { program, args: Vec::new(), cwd: None, env: Vec::new() }
    }

    pub(super) fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub(super) fn args<const N: usize>(mut self, args: [&str; N]) -> Self {
        self.args.extend(args.map(str::to_owned));
        self
    }

    pub(super) fn cwd(mut self, cwd: impl Into<PathBuf>) -> Self {
        self.cwd = Some(cwd.into());
        self
    }

    pub(super) fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.env.push((name, value));
        self
    }

    /// Dropping the future kills the command.
    pub(super) async fn run(self, settings: &CliSettings) -> Result<Output, RunError> {
        let program = settings.bin_dir.as_ref().map_or_else(|| OsString::from(self.program), |dir| dir.join(self.program).into());
        let mut command = Command::new(program);
        command.args(&self.args).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        command.envs(inherited(&settings.pass_env));
        command.envs(self.env.iter().copied());
        command.envs(settings.slurm_conf.iter().map(|file| ("SLURM_CONF", file)));
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        let mut child = command.spawn().map_err(|source| RunError::Spawn { program: self.program, source })?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let work = async { tokio::try_join!(child.wait(), read(stdout, &mut out), read(stderr, &mut err)) };
        let ended = timeout(settings.timeout, work).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match ended {
            Ok(Ok((status, (), ()))) => Ok(Output { code: status.code(), stdout: text(&out), stderr: text(&err) }),
            Ok(Err(source)) => {
                kill(&mut child).await;
                Err(RunError::Lost { source })
            }
            Err(_) => {
                kill(&mut child).await;
                tracing::warn!(program = self.program, "killed {} after {} s", self.program, settings.timeout.as_secs());
                Err(RunError::TimedOut { after: settings.timeout, stderr: text(&err) })
            }
        }
    }
}

async fn read(pipe: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) -> io::Result<()> {
    if let Some(pipe) = pipe {
        pipe.take(LONGEST_OUTPUT).read_to_end(into).await?;
    }
    Ok(())
}

/// The whole group: on many sites the commands are wrapper scripts.
async fn kill(child: &mut Child) {
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
        let _ = kill_process_group(pid, Signal::KILL);
    }
    let _ = child.kill().await;
}
