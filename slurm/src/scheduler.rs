//! The interface to a scheduler, and the few outcomes that its callers tell apart. The important line is drawn in
//! [`SubmitError`]: what certainly did not submit, and what may have.

use std::io;
use std::time::Duration;

use async_trait::async_trait;

use crate::{ClusterView, JobScript, JobView};

/// Submits, reads and cancels jobs of the account that we run as.
#[async_trait]
pub trait Scheduler: Send + Sync {
    /// The transport's name: `cli`, `rest`, `local`.
    fn kind(&self) -> &'static str;

    /// Submits the script, which the caller has written to `job_dir/job.sh`. Not idempotent: after [`SubmitError::Ambiguous`]
    /// look the name up before trying again.
    async fn submit(&self, job: &JobScript) -> Result<Submitted, SubmitError>;

    /// All our jobs whose name begins with `name_prefix`, finished ones too as long as the controller remembers them
    /// (`MinJobAge`, 5 minutes by default). One read, whatever the number of jobs. A job that is absent is *not* thereby over.
    async fn list(&self, name_prefix: &str) -> Result<Vec<JobView>, ReadError>;

    /// What accounting knows of jobs with these names, in one read, however many there are. Empty as well where the site has no
    /// accounting; accounting that is configured and silent is an error, since "not found" must stay a true word. Records of refused
    /// submissions are left out.
    async fn accounted(&self, names: &[&str]) -> Result<Vec<JobView>, ReadError>;

    /// Looks one name up, in the listing and then in accounting. Empty: a controller that could be reached knows no such job.
    /// Records that Slurm keeps of refused submissions are left out.
    async fn find(&self, name: &str) -> Result<Vec<JobView>, ReadError> {
        let mine = |job: &JobView| job.name == name && !job.refused_at_submission();
        let mut jobs = self.list(name).await?;
        jobs.retain(mine);
        if jobs.is_empty() {
            jobs = self.accounted(&[name]).await?;
            jobs.retain(mine);
        }
        Ok(jobs)
    }

    /// Sends TERM to the job and removes it from the queue. `Ok` as well when the id is unknown or the job is over.
    /// Slurm reuses ids after a crash: check name and submit time on a fresh listing first.
    async fn cancel(&self, id: &str) -> Result<(), CancelError>;

    /// Partitions, nodes and limits. At most four reads, whatever the size of the cluster; nothing in it is needed to run jobs.
    async fn cluster(&self) -> Result<ClusterView, ReadError>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    pub id: String,
    /// Named by `sbatch` on sites with several clusters.
    pub cluster: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// Slurm said no to this job. Not submitted; the same script will be refused again until something changes.
    #[error("Slurm refused the job: {stderr}")]
    Rejected { stderr: String },
    /// A limit on submitted jobs is reached (of the account, the QOS or the whole cluster). Not submitted; it passes by itself.
    #[error("Slurm takes no more jobs for now: {stderr}")]
    Limited { stderr: String },
    /// No connection to the controller was made. Not submitted; try again later.
    #[error("the Slurm controller cannot be reached: {stderr}")]
    Unreachable { stderr: String },
    /// The job may exist: time-out, killed, lost answer, or words that we do not know. Look the name up.
    #[error("it is not known whether the job was submitted: {detail}")]
    Ambiguous { detail: String },
    /// The program did not start. Not submitted.
    #[error("starting {program}")]
    Spawn {
        program: &'static str,
        #[source]
        source: io::Error,
    },
}

/// What sbatch says while it retries at `MaxJobCount`: 22.05, and 26.05 (from its source).
const SBATCH_RETRIES: [&str; 2] = ["Slurm temporarily unable to accept job", "Slurm job queue full"];

impl SubmitError {
    /// Whether a limit on submitted jobs stands behind it, so that other submissions would fare alike now. An ambiguous one too:
    /// while `MaxJobCount` is reached sbatch retries until it is killed by our deadline.
    pub fn at_limit(&self) -> bool {
        match self {
            Self::Limited { .. } => true,
            Self::Ambiguous { detail } => SBATCH_RETRIES.iter().any(|words| detail.contains(words)),
            _ => false,
        }
    }
}

/// Why nothing is known now. Never a reason to think that a job is over.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{program} got no answer: {stderr}")]
    Unreachable { program: &'static str, stderr: String },
    #[error("{program} did not end within {} s", after.as_secs())]
    TimedOut { program: &'static str, after: Duration },
    #[error("{program} answered in a form that we cannot read: {detail}")]
    Unreadable { program: &'static str, detail: String },
    #[error("starting {program}")]
    Spawn {
        program: &'static str,
        #[source]
        source: io::Error,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    /// The job is someone else's, or the site forbids it: trying again is useless.
    #[error("Slurm does not let us cancel job {id}: {stderr}")]
    Denied { id: String, stderr: String },
    #[error("job {id} could not be cancelled now: {stderr}")]
    Unreachable { id: String, stderr: String },
    #[error("scancel of job {id} did not end within {} s", after.as_secs())]
    TimedOut { id: String, after: Duration },
    #[error("starting {program}")]
    Spawn {
        program: &'static str,
        #[source]
        source: io::Error,
    },
}
