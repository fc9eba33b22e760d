//! The control plane's own metrics (DESIGN section 10). Labels come from closed sets.

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// Cheap to clone; clones count together.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    pub workqueue_depth: IntGauge,
    pub reconcile_seconds: Histogram,
    pub reconcile_errors: IntCounter,
    pub reconcile_panics: IntCounter,
    pub stalled: IntGauge,
    pub task_restarts: IntCounterVec,
    pub disk_operations: IntCounterVec,
    pub disk_stuck: IntGauge,
    pub clock_jumps: IntCounter,
    pub database_errors: IntCounterVec,
    pub cleanup: IntCounterVec,
    pub notifications: IntCounterVec,
    pub notifications_pending: IntGauge,
    pub slurm_rpc: IntCounterVec,
    pub slurm_rpc_seconds: HistogramVec,
    pub slurm_budget_remaining: IntGauge,
    pub slurm_hints: IntCounter,
    pub submit_ambiguous: IntCounter,
    pub duplicate_suppressed: IntCounter,
    pub adopted: IntCounter,
    pub orphans: IntGauge,
    pub experiments: IntGaugeVec,
    pub http_requests: IntCounterVec,
    pub http_seconds: HistogramVec,
    pub agent_lag_seconds: Histogram,
    pub db_commit_seconds: Histogram,
    pub watch_streams: IntGauge,
    pub is_leader: IntGauge,
}

const FAST: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0];
const SLOW: [f64; 10] = [0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// # Panics
    /// Never: the names below are valid and distinct.
    pub fn new() -> Self {
        let make = Maker(Registry::new());
        let metrics = Self {
            workqueue_depth: make.gauge("em_workqueue_depth", "Experiments that are not settled."),
            reconcile_seconds: make.histogram("em_reconcile_duration_seconds", "One pass of the reconciler.", &SLOW),
            reconcile_errors: make.counter("em_reconcile_errors_total", "Passes and actions of the reconciler that failed."),
            reconcile_panics: make.counter("em_reconcile_panics_total", "Panics about one experiment; the others went on."),
            stalled: make.gauge("em_experiments_stalled", "Experiments with a step that keeps failing or takes too long."),
            task_restarts: make.counters(
                "em_task_restarts_total",
                "Background tasks that ended and were started again.",
                &["task"],
            ),
            disk_operations: make.counters(
                "em_disk_operations_total",
                "Work on job directories by the reconciler.",
                &["operation", "outcome"],
            ),
            disk_stuck: make.gauge("em_disk_stuck", "Work on job directories that has not come back in time."),
            clock_jumps: make.counter("em_clock_jumps_total", "Times that the wall clock was set, forward or back."),
            database_errors: make.counters("em_database_errors_total", "Times that the database could not do its work.", &["kind"]),
            cleanup: make.counters("em_cleanup_total", "What clean-up took away.", &["what", "outcome"]),
            notifications: make.counters("em_notifications_total", "Requests to the webhook.", &["outcome"]),
            notifications_pending: make
                .gauge("em_notifications_pending", "Ends of experiments that the webhook is still to be told."),
            slurm_rpc: make.counters("em_slurm_rpc_total", "Calls of Slurm.", &["verb", "outcome"]),
            slurm_rpc_seconds: make.histograms("em_slurm_rpc_duration_seconds", "Calls of Slurm.", &["verb"], &SLOW),
            slurm_budget_remaining: make.gauge("em_slurm_rpc_budget_remaining", "Reads of jobs left in this minute."),
            slurm_hints: make.counter("em_slurm_hints_total", "Hints of Slurm's hooks to look now."),
            submit_ambiguous: make.counter("em_submit_ambiguous_total", "Submissions whose outcome had to be looked up."),
            duplicate_suppressed: make.counter("em_duplicate_suppressed_total", "Second jobs of one attempt that were cancelled."),
            adopted: make.counter("em_adopted_total", "Jobs found by name that belonged to a submission without an answer."),
            orphans: make.gauge("em_orphans", "Jobs of this server in the last listing that no open attempt owns."),
            experiments: make.gauges("em_experiments", "Experiments by phase.", &["phase"]),
            http_requests: make.counters("em_http_requests_total", "Requests answered.", &["method", "route", "status"]),
            http_seconds: make.histograms(
                "em_http_request_duration_seconds",
                "Until the answer's head.",
                &["method", "route"],
                &FAST,
            ),
            agent_lag_seconds: make.histogram("em_agent_lag_seconds", "Age of the oldest record of a batch when it came.", &SLOW),
            db_commit_seconds: make.histogram("em_db_commit_seconds", "Commits of write transactions.", &FAST),
            watch_streams: make.gauge("em_watch_streams", "Open streams of watchers and log followers."),
            is_leader: make.gauge("em_is_leader", "1 where this server reconciles."),
            registry: make.0,
        };
        metrics.is_leader.set(1);
        metrics
    }

    /// Prometheus text format 0.0.4.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics could not be written");
        }
        String::from_utf8(text).unwrap_or_default()
    }
}

struct Maker(Registry);

impl Maker {
    fn keep<C: prometheus::core::Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let made = made.expect("metric names here are valid");
        self.0.register(Box::new(made.clone())).expect("metric names here are distinct");
        made
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.keep(IntGauge::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.keep(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.keep(IntCounter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.keep(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.keep(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
        self.keep(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels))
    }
}
