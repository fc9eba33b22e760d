//! One planned service: start it, compare its vectors, measure its trials, stop it. What goes wrong here is the trials' own
//! failure: it is handed in with the end of the log, and the next service goes on.

use std::time::{Duration, Instant};

use em_api::agent::{AgentPhase, RecordBody};
use em_api::plan::{PlannedTrial, ServiceRun};
use em_api::spec::Backend;
use em_embed::launch::{Launch, Service, StartFailed, launch};
use tracing::warn;

use super::job::{Failure, Of, Run, reason};
use super::log_tail::LogTail;
use super::texts::Texts;
use super::trial::{self, TrialEnd};

/// A service ends by itself within 15 s or is killed. A stopped run has less time: it kills then.
const END_WITHIN: Duration = Duration::from_secs(20);
const END_WITHIN_WHEN_STOPPED: Duration = Duration::from_secs(8);

/// Hands in a measurement for every trial of `planned`, unless the run stops or drains. A service that dies is started again
/// for the trials after the one that it died in.
pub(crate) async fn execute(run: &Run, texts: &Texts, planned: &ServiceRun) {
    let Some(backend) = run.job.backend(&planned.backend) else {
        let failure = Failure::new(reason::SERVICE_START_FAILED, format!("the plan describes no backend `{}`", planned.backend));
        return run.fail_all(&planned.backend, planned.repetition, &planned.trials, &failure).await;
    };
    let mut left = planned.trials.as_slice();
    let mut start = 0;
    while !left.is_empty() && run.may_begin() {
        start += 1;
        let one = Start { run, texts, backend, repetition: planned.repetition, number: start };
        left = &left[one.execute(left).await..];
    }
}

/// One start of a service.
pub(crate) struct Start<'a> {
    pub(crate) run: &'a Run,
    pub(crate) texts: &'a Texts,
    pub(crate) backend: &'a Backend,
    pub(crate) repetition: u32,
    number: u32,
}

impl Start<'_> {
    /// How many of `trials` are done with; at least one, unless the run is to begin no more.
    async fn execute(&self, trials: &[PlannedTrial]) -> usize {
        let (run, name) = (self.run, self.backend.name.as_str());
        let words = format!("{name}, repetition {}, {} trials", self.repetition, trials.len());
        run.recorder.phase(AgentPhase::StartingService, &words, None, Some(name));
        let launch = self.launch_plan();
        let log = LogTail::follow(launch.log_path.clone(), run.recorder.clone(), name.to_owned());
        let used = match self.launch(&launch).await {
            Ok(service) => self.with_service(service, &log, trials).await,
            Err(_) if run.stop.stopped_by_now().await => 0,
            Err(failed) => {
                let failure = Failure {
                    reason: reason::SERVICE_START_FAILED,
                    message: failed.message,
                    log_tail: failed.log_tail,
                    service: None,
                };
                run.fail_all(name, self.repetition, trials, &failure).await;
                trials.len()
            }
        };
        log.end().await;
        used
    }

    fn launch_plan(&self) -> Launch {
        let (run, plan) = (self.run, &self.run.job.plan);
        Launch {
            backend: self.backend.clone(),
            model: plan.model.clone(),
            store_dir: plan.store_dir.clone().into(),
            work_dir: run.job.service_work(run.epoch, &self.backend.name, self.repetition, self.number),
            log_path: run.job.service_log(run.epoch, &self.backend.name, self.repetition, self.number),
            agent_exe: run.exe.clone(),
            cores: run.placement.service.clone(),
            wire: plan.load.wire,
        }
    }

    async fn launch(&self, plan: &Launch) -> Result<Service, StartFailed> {
        for folder in [Some(plan.work_dir.as_path()), plan.log_path.parent()].into_iter().flatten() {
            if let Err(problem) = std::fs::create_dir_all(folder) {
                warn!("making {}: {problem}", folder.display());
            }
        }
        let stop = self.run.stop.token();
        tokio::select! {
            started = launch(plan, stop) => started,
            () = async { stop.cancelled().await; tokio::time::sleep(END_WITHIN_WHEN_STOPPED).await } => Err(StartFailed {
                reason: "Stopped".to_owned(),
                message: "the run was stopped while the service started".to_owned(),
                log_tail: String::new(),
            }),
        }
    }

    async fn with_service(&self, mut service: Service, log: &LogTail, trials: &[PlannedTrial]) -> usize {
        let used = match self.compare_vectors(&service).await {
            Ok(dim) => self.measure(&mut service, log, trials, dim).await,
            Err(_) if self.run.stop.stopped_by_now().await => 0,
            Err(failure) => {
                self.run.fail_all(&self.backend.name, self.repetition, trials, &failure).await;
                trials.len()
            }
        };
        self.end(service).await;
        used
    }

    /// Records the vectors of the parity texts; the gate is computed from them later. Returns the dimension.
    async fn compare_vectors(&self, service: &Service) -> Result<u32, Failure> {
        let (run, plan) = (self.run, &self.run.job.plan);
        let wire = plan.load.wire;
        run.recorder.phase(AgentPhase::Parity, "vectors of 200 texts", None, Some(&self.backend.name));
        let begin = Instant::now();
        let asked = tokio::select! {
            asked = self.texts.vectors(service, wire, plan.load.timeout.0) => asked.map_err(|problem| crate::chain(&problem)),
            () = run.stop.token().cancelled() => Err(run.stop.reason()),
        };
        let vectors = asked.map_err(|message| Failure {
            reason: reason::PARITY_FAILED,
            message: match service.memory_trouble() {
                Some(trouble) => format!("the service gave no vectors for the parity texts: {message}; {trouble}"),
                None => format!("the service gave no vectors for the parity texts: {message}"),
            },
            log_tail: service.log_tail(),
            service: Some(service.report.clone()),
        })?;
        let record = self.texts.parity_record(&self.backend.name, self.repetition, &vectors);
        let dim = record.dim;
        run.recorder.record(RecordBody::Parity(record));
        run.recorder.note(
            None,
            Some(&self.backend.name),
            &format!("parity vectors of {dim} numbers in {:.1} s", begin.elapsed().as_secs_f64()),
        );
        Ok(dim)
    }

    async fn measure(&self, service: &mut Service, log: &LogTail, trials: &[PlannedTrial], dim: u32) -> usize {
        let mut used = 0;
        for trial in trials {
            if used > 0 && !self.run.may_begin() || self.run.stop.stopped() {
                break;
            }
            log.of_trial(Some(trial.id));
            let of = Of { backend: &self.backend.name, repetition: self.repetition, trial };
            let end = trial::measure(self, service, of, dim).await;
            log.of_trial(None);
            used += 1;
            if end == TrialEnd::ServiceDied {
                break;
            }
        }
        used
    }

    async fn end(&self, service: Service) {
        let name = self.backend.name.as_str();
        self.run.recorder.phase(AgentPhase::StoppingService, name, None, Some(name));
        self.run.metrics.service_ended();
        let stop = self.run.stop.token();
        // Dropped before its end, `stop` kills the process group.
        let ended = tokio::select! {
            report = tokio::time::timeout(END_WITHIN, service.stop()) => report.is_ok(),
            () = async { stop.cancelled().await; tokio::time::sleep(END_WITHIN_WHEN_STOPPED).await } => false,
        };
        if !ended {
            self.run.recorder.note(None, Some(name), "the service did not end in time and was killed");
        }
    }
}
