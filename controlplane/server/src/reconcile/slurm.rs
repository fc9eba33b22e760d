//! Calls of the scheduler, each with a deadline of our own, counted and timed.

use std::sync::Arc;
use std::time::Duration;

use em_slurm::{CancelError, ClusterView, JobScript, JobView, ReadError, Scheduler, SubmitError, Submitted};

use super::pace::CLUSTER_READS;
use crate::metrics::Metrics;

/// Beyond the transport's own time-out: a transport that hangs must not hang the reconciler.
const DEADLINE: Duration = Duration::from_secs(90);

pub(super) struct Slurm {
    scheduler: Arc<dyn Scheduler>,
    metrics: Metrics,
}

impl Slurm {
    pub(super) fn new(scheduler: Arc<dyn Scheduler>, metrics: Metrics) -> Self {
        Self { scheduler, metrics }
    }

    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<JobView>, ReadError> {
        let late = || ReadError::TimedOut { program: "squeue", after: DEADLINE };
        self.call("list", self.scheduler.list(prefix), late).await
    }

    pub(super) async fn accounted(&self, names: &[&str]) -> Result<Vec<JobView>, ReadError> {
        let late = || ReadError::TimedOut { program: "sacct", after: DEADLINE };
        self.call("accounted", self.scheduler.accounted(names), late).await
    }

    pub(super) async fn submit(&self, job: &JobScript) -> Result<Submitted, SubmitError> {
        let late = || SubmitError::Ambiguous { detail: format!("no answer within {} s", DEADLINE.as_secs()) };
        self.call("submit", self.scheduler.submit(job), late).await
    }

    pub(super) async fn cancel(&self, id: &str) -> Result<(), CancelError> {
        let late = || CancelError::TimedOut { id: id.to_owned(), after: DEADLINE };
        self.call("cancel", self.scheduler.cancel(id), late).await
    }

    /// Counted as the four reads that it is at most.
    pub(super) async fn cluster(&self) -> Result<ClusterView, ReadError> {
        let late = || ReadError::TimedOut { program: "scontrol", after: DEADLINE };
        let result = self.call("cluster", self.scheduler.cluster(), late).await;
        self.metrics.slurm_rpc.with_label_values(&["cluster", outcome(&result)]).inc_by(u64::from(CLUSTER_READS) - 1);
        result
    }

    async fn call<T, E>(
        &self,
        verb: &'static str,
        call: impl Future<Output = Result<T, E>>,
        late: impl FnOnce() -> E,
    ) -> Result<T, E> {
        let timer = self.metrics.slurm_rpc_seconds.with_label_values(&[verb]).start_timer();
        let result = tokio::time::timeout(DEADLINE, call).await.unwrap_or_else(|_| Err(late()));
        timer.observe_duration();
        self.metrics.slurm_rpc.with_label_values(&[verb, outcome(&result)]).inc();
        result
    }
}

fn outcome<T, E>(result: &Result<T, E>) -> &'static str {
    if result.is_ok() { "ok" } else { "error" }
}
