//! Slurm through its commands: `sbatch`, `squeue`, `sacct`, `scancel`, and their text formats, which have been stable for longer
//! than any API of Slurm. Nothing is kept between calls.

mod accounting;
mod answer;
mod cluster;
mod command;
mod listing;
#[cfg(test)]
mod recorded;
mod time;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

use crate::scheduler::{CancelError, ReadError, Scheduler, SubmitError, Submitted};
use crate::{ClusterView, JobScript, JobView, SCRIPT_FILE, second_key};
pub(crate) use answer::findable;
use command::{Call, RunError};
pub use listing::{FORMAT as SQUEUE_FORMAT, parse as parse_squeue};

#[derive(Clone, Debug)]
pub struct CliSettings {
    /// Our own deadline around every command. sbatch has none: it retries for ever while `MaxJobCount` is reached.
    pub timeout: Duration,
    /// Where the commands are; absent: found by `PATH`.
    pub bin_dir: Option<PathBuf>,
    /// Configuration file of the cluster; absent: `SLURM_CONF` of our own environment, else the site's.
    pub slurm_conf: Option<PathBuf>,
    /// Variables passed on to the commands, and so to the jobs, beside the short list of `environment.rs`.
    pub pass_env: Vec<String>,
    /// How far back a name is looked up in accounting.
    pub accounting_days: u32,
}

impl Default for CliSettings {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), bin_dir: None, slurm_conf: None, pass_env: Vec::new(), accounting_days: 30 }
    }
}

#[derive(Clone, Debug)]
pub struct CliScheduler {
    settings: CliSettings,
}

impl CliScheduler {
    pub fn new(settings: CliSettings) -> Self {
        Self { settings }
    }

    /// Never by `--name`: the controller sends all jobs anyway, and a site may have rewritten the name.
    async fn squeue(&self) -> Result<Vec<JobView>, ReadError> {
        let user = rustix::process::getuid().as_raw();
        let call = Call::new("squeue")
            .args(["-h", "-t", "all", "-O", listing::FORMAT])
            .arg(format!("--user={user}"))
            .env("SLURM_TIME_FORMAT", time::EPOCH);
        let output = call.run(&self.settings).await.map_err(|error| read_error("squeue", error))?;
        if !output.success() {
            return Err(ReadError::Unreachable { program: "squeue", stderr: output.words() });
        }
        Ok(listing::parse(&output.stdout)?.into_iter().map(second_key::restore).collect())
    }
}

#[async_trait]
impl Scheduler for CliScheduler {
    fn kind(&self) -> &'static str {
        "cli"
    }

    async fn submit(&self, job: &JobScript) -> Result<Submitted, SubmitError> {
        findable(&job.name)?;
        let call = Call::new("sbatch")
            .arg("--parsable")
            .arg(format!("--job-name={}", job.name))
            .arg(format!("--comment={}", second_key::stamp(&job.comment, &job.name)))
            .arg(SCRIPT_FILE)
            .cwd(&job.job_dir);
        answer::submitted(call.run(&self.settings).await)
    }

    async fn list(&self, name_prefix: &str) -> Result<Vec<JobView>, ReadError> {
        let mut jobs = self.squeue().await?;
        jobs.retain(|job| job.name.starts_with(name_prefix));
        Ok(jobs)
    }

    async fn accounted(&self, names: &[&str]) -> Result<Vec<JobView>, ReadError> {
        let found = accounting::find(names, &self.settings).await?.into_iter().map(second_key::restore);
        Ok(found.filter(|job| !job.failed_without_a_node()).collect())
    }

    async fn cancel(&self, id: &str) -> Result<(), CancelError> {
        let call = Call::new("scancel").arg("--").arg(id.to_owned());
        answer::cancelled(id, call.run(&self.settings).await)
    }

    async fn cluster(&self) -> Result<ClusterView, ReadError> {
        cluster::read(&self.settings).await
    }
}

fn read_error(program: &'static str, error: RunError) -> ReadError {
    match error {
        RunError::Spawn { source, .. } => ReadError::Spawn { program, source },
        RunError::TimedOut { after, .. } => ReadError::TimedOut { program, after },
        RunError::Lost { source } => ReadError::Unreachable { program, stderr: source.to_string() },
    }
}
