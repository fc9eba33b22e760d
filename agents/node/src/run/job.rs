//! What all parts of a claimed run share, and how a measurement leaves it: the spool first, then the uplink.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use em_api::Timestamp;
use em_api::agent::AgentPhase;
use em_api::measurement::{Environment, Measurement, Outcome, Series, ServiceReport};
use em_api::plan::PlannedTrial;
use tracing::{error, info};

use super::deadline;
use super::exposition::Metrics;
use super::headroom::Headroom;
use super::placement::Placement;
use super::plan::JobDir;
use super::records::Recorder;
use super::shutdown::Stop;
use super::spool::Spool;
use super::uplink::{Body, Delivery, Uplink};

pub(crate) struct Run {
    pub(crate) job: JobDir,
    pub(crate) epoch: u32,
    pub(crate) spool: Spool,
    pub(crate) recorder: Recorder,
    pub(crate) uplink: Uplink,
    pub(crate) stop: Stop,
    pub(crate) placement: Placement,
    pub(crate) environment: Environment,
    pub(crate) job_end: Option<Timestamp>,
    /// This very program: load generators and our own service are started from it.
    pub(crate) exe: PathBuf,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) handed_in: AtomicUsize,
    pub(crate) headroom: Headroom,
}

/// Which backend and repetition a trial belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Of<'a> {
    pub(crate) backend: &'a str,
    pub(crate) repetition: u32,
    pub(crate) trial: &'a PlannedTrial,
}

/// What is known of a trial at its end.
pub(crate) struct Ended {
    pub(crate) started_at: Timestamp,
    pub(crate) outcome: Outcome,
    pub(crate) service: Option<ServiceReport>,
    pub(crate) series: Option<Series>,
}

impl Run {
    /// Whether another trial may begin. Says why not, once.
    pub(crate) fn may_begin(&self) -> bool {
        if self.stop.drained() {
            return false;
        }
        // All levels of an experiment are of one kind.
        let mut trials = self.job.plan.services.iter().flat_map(|service| &service.trials);
        let Some(level) = trials.next().map(|trial| trial.load) else { return true };
        if deadline::fits(self.job_end, Timestamp::now(), &self.job.plan.load, level) {
            return true;
        }
        let reason = "the job ends before another trial could; the trials left are for the next job";
        self.stop.drain(reason);
        self.recorder.phase(AgentPhase::Draining, reason, None, None);
        false
    }

    /// Writes the measurement to the spool and has it sent. Never fails: what cannot be spooled is sent from memory.
    pub(crate) async fn hand_in(&self, of: Of<'_>, ended: Ended) {
        let trial = of.trial.id;
        let words = match &ended.outcome {
            Outcome::Measured { load } => format!("measured {:.0} texts/s", load.texts_ok as f64 / load.window_s.max(f64::EPSILON)),
            Outcome::Failed { reason, message, .. } => format!("failed, {reason}: {message}"),
            Outcome::Interrupted { message } => format!("interrupted: {message}"),
        };
        let measurement = self.measurement(of, ended);
        let json = serde_json::to_vec(&measurement).expect("a measurement is plain data with text keys");
        let spool = self.spool.clone();
        let written = tokio::task::spawn_blocking(move || spool.write_measurement(trial, &json).map_err(|problem| (json, problem)));
        let body = match written.await {
            Ok(Ok(path)) => Body::Spooled(path),
            Ok(Err((json, problem))) => {
                error!("the spool takes no measurement ({problem}); make room in the job directory. Sending it from memory");
                Body::Unspooled(json)
            }
            Err(panic) => {
                error!("writing the measurement of trial {trial}: {panic}");
                Body::Unspooled(serde_json::to_vec(&measurement).unwrap_or_default())
            }
        };
        self.uplink.deliver(Delivery { trial, body });
        let number = self.handed_in.fetch_add(1, Ordering::Relaxed) + 1;
        let line = format!("trial {number} of {}: {} batch {} {words}", self.job.trials_total(), of.backend, of.trial.batch_size);
        self.recorder.note(Some(trial), Some(of.backend), &line);
    }

    fn measurement(&self, of: Of<'_>, ended: Ended) -> Measurement {
        Measurement {
            trial: of.trial.id,
            block: of.trial.block,
            attempt: self.job.plan.attempt,
            epoch: self.epoch,
            backend: of.backend.to_owned(),
            batch_size: of.trial.batch_size,
            load: of.trial.load,
            repetition: of.repetition,
            started_at: ended.started_at,
            finished_at: Timestamp::now(),
            outcome: ended.outcome,
            service: ended.service,
            series: ended.series,
            environment: self.environment.clone(),
        }
    }

    /// Hands all `trials` in as failed for one reason.
    pub(crate) async fn fail_all(&self, backend: &str, repetition: u32, trials: &[PlannedTrial], failure: &Failure) {
        info!(backend, "{} trials fail: {}", trials.len(), failure.message);
        for trial in trials {
            let ended =
                Ended { started_at: Timestamp::now(), outcome: failure.outcome(), service: failure.service.clone(), series: None };
            self.hand_in(Of { backend, repetition, trial }, ended).await;
        }
    }
}

/// A trial's own fault.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) log_tail: String,
    /// The service, where it had come up.
    pub(crate) service: Option<ServiceReport>,
}

impl Failure {
    pub(crate) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), log_tail: String::new(), service: None }
    }

    pub(crate) fn outcome(&self) -> Outcome {
        Outcome::Failed { reason: self.reason.to_owned(), message: self.message.clone(), log_tail: tail(&self.log_tail) }
    }
}

/// The last 8 KiB, from a character on.
pub(crate) fn tail(text: &str) -> String {
    const BYTES: usize = 8 * 1024;
    text[text.ceil_char_boundary(text.len().saturating_sub(BYTES))..].to_owned()
}

pub(crate) mod reason {
    pub(crate) const SERVICE_START_FAILED: &str = "ServiceStartFailed";
    pub(crate) const SERVICE_DIED: &str = "ServiceDied";
    pub(crate) const PARITY_FAILED: &str = "ParityFailed";
    pub(crate) const LOAD_FAILED: &str = "LoadFailed";
    pub(crate) const GPU_NOT_VISIBLE: &str = "GpuNotVisible";
}
