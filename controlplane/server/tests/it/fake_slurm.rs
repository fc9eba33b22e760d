//! A fake: a scheduler without a cluster. Tests say what `sbatch` answers and what becomes of jobs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use em_slurm::{
    CancelError, ClusterView, JobScript, JobState, JobView, PendingReason, ReadError, Scheduler, SubmitError, Submitted,
};

/// What the next `sbatch` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sbatch {
    Works,
    /// The controller took the job, and the answer was lost.
    TakenWithoutAnswer,
    /// No answer, and no job.
    LostWithoutAnswer,
    /// The controller took the job; `sbatch` never returns.
    TakenAndHangs,
    /// `sbatch` never returns, and the controller never hears of the job.
    Hangs,
    Refuses(&'static str),
    /// A limit on submitted jobs is reached.
    Limited(&'static str),
}

#[derive(Default)]
struct Inner {
    down: bool,
    script: VecDeque<Sbatch>,
    jobs: Vec<JobView>,
    submissions: Vec<JobScript>,
    cancelled: Vec<String>,
    last_id: u64,
    cluster: ClusterView,
    /// Experiments whose submission panics.
    poisoned: Vec<String>,
    /// Listings that panic.
    broken_listings: u32,
}

#[derive(Clone, Default)]
pub(crate) struct FakeSlurm(Arc<Mutex<Inner>>);

impl FakeSlurm {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The controller does not answer.
    pub(crate) fn down(&self, down: bool) {
        self.inner().down = down;
    }

    /// `sbatch` for this experiment panics inside us.
    pub(crate) fn poison(&self, experiment: &str) {
        self.inner().poisoned.push(format!("em experiment={experiment} "));
    }

    /// So many listings panic inside us.
    pub(crate) fn break_listings(&self, count: u32) {
        self.inner().broken_listings = count;
    }

    /// What the cluster has.
    pub(crate) fn has(&self, cluster: ClusterView) {
        self.inner().cluster = cluster;
    }

    pub(crate) fn next_sbatch(&self, what: Sbatch) {
        self.inner().script.push_back(what);
    }

    pub(crate) fn submissions(&self) -> Vec<JobScript> {
        self.inner().submissions.clone()
    }

    pub(crate) fn jobs(&self) -> Vec<JobView> {
        self.inner().jobs.clone()
    }

    pub(crate) fn live(&self) -> usize {
        self.inner().jobs.iter().filter(|job| !job.state.ended()).count()
    }

    pub(crate) fn cancelled(&self) -> Vec<String> {
        self.inner().cancelled.clone()
    }

    pub(crate) fn set(&self, id: &str, state: JobState) {
        self.with(id, |job| {
            job.raw_state = format!("{state:?}").to_uppercase();
            job.state = state;
        });
    }

    pub(crate) fn set_pending(&self, id: &str, reason: PendingReason) {
        self.with(id, |job| job.pending = Some(reason));
    }

    fn with(&self, id: &str, change: impl FnOnce(&mut JobView)) {
        let mut inner = self.inner();
        change(inner.jobs.iter_mut().find(|job| job.id == id).expect("a job of that id"));
    }

    /// The controller forgets the job (purged, or lost in a crash).
    pub(crate) fn forget(&self, id: &str) {
        self.inner().jobs.retain(|job| job.id != id);
    }

    /// A job under a name, made by somebody's hand.
    pub(crate) fn add(&self, name: &str) -> String {
        let mut inner = self.inner();
        inner.last_id += 1;
        let id = inner.last_id.to_string();
        inner.jobs.push(view(&id, name));
        id
    }
}

fn view(id: &str, name: &str) -> JobView {
    JobView {
        id: id.to_owned(),
        name: name.to_owned(),
        comment: String::new(),
        state: JobState::Pending,
        raw_state: "PENDING".to_owned(),
        reason: Some("Resources".to_owned()),
        pending: None,
        nodes: None,
        restart_count: Some(0),
        submitted_at: None,
        started_at: None,
        expected_start: None,
        ends_at: None,
        exit: None,
        derived_exit: None,
        user: None,
    }
}

#[async_trait]
impl Scheduler for FakeSlurm {
    fn kind(&self) -> &'static str {
        "fake"
    }

    async fn submit(&self, job: &JobScript) -> Result<Submitted, SubmitError> {
        let what = {
            let mut inner = self.inner();
            if inner.down {
                return Err(SubmitError::Unreachable { stderr: "connect failure".to_owned() });
            }
            let poisoned = inner.poisoned.iter().any(|start| job.comment.starts_with(start));
            assert!(!poisoned, "a defect at one experiment");
            inner.submissions.push(job.clone());
            inner.script.pop_front().unwrap_or(Sbatch::Works)
        };
        let lost = || SubmitError::Ambiguous { detail: "no answer within 30 s".to_owned() };
        match what {
            Sbatch::Works => Ok(Submitted { id: self.add(&job.name), cluster: None }),
            Sbatch::TakenWithoutAnswer => {
                self.add(&job.name);
                Err(lost())
            }
            Sbatch::LostWithoutAnswer => Err(lost()),
            Sbatch::TakenAndHangs => {
                self.add(&job.name);
                std::future::pending().await
            }
            Sbatch::Hangs => std::future::pending().await,
            Sbatch::Limited(stderr) => Err(SubmitError::Limited { stderr: stderr.to_owned() }),
            Sbatch::Refuses(stderr) => Err(SubmitError::Rejected { stderr: stderr.to_owned() }),
        }
    }

    async fn list(&self, name_prefix: &str) -> Result<Vec<JobView>, ReadError> {
        let mut inner = self.inner();
        let broken = inner.broken_listings > 0;
        inner.broken_listings = inner.broken_listings.saturating_sub(1);
        assert!(!broken, "a defect in reading a listing");
        if inner.down {
            return Err(ReadError::Unreachable { program: "squeue", stderr: "connect failure".to_owned() });
        }
        Ok(inner.jobs.iter().filter(|job| job.name.starts_with(name_prefix)).cloned().collect())
    }

    async fn accounted(&self, names: &[&str]) -> Result<Vec<JobView>, ReadError> {
        let inner = self.inner();
        if inner.down {
            return Err(ReadError::Unreachable { program: "sacct", stderr: "connect failure".to_owned() });
        }
        Ok(inner.jobs.iter().filter(|job| names.contains(&job.name.as_str())).cloned().collect())
    }

    async fn cancel(&self, id: &str) -> Result<(), CancelError> {
        let mut inner = self.inner();
        if inner.down {
            return Err(CancelError::Unreachable { id: id.to_owned(), stderr: "connect failure".to_owned() });
        }
        inner.cancelled.push(id.to_owned());
        if let Some(job) = inner.jobs.iter_mut().find(|job| job.id == id && !job.state.ended()) {
            (job.state, job.raw_state) = (JobState::Cancelled, "CANCELLED".to_owned());
        }
        Ok(())
    }

    async fn cluster(&self) -> Result<ClusterView, ReadError> {
        let inner = self.inner();
        if inner.down {
            return Err(ReadError::Unreachable { program: "scontrol", stderr: "connect failure".to_owned() });
        }
        Ok(inner.cluster.clone())
    }
}
