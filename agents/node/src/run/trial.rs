//! One trial: the load generator runs, the service's processes and GPUs are sampled, and both become one measurement.

use std::time::Duration;

use em_api::agent::{AgentPhase, RecordBody, Sample};
use em_api::measurement::{LoadReport, Outcome, Series};
use em_api::spec::{Device, Load, LoadLevel};
use em_api::{HumanDuration, Timestamp};
use em_embed::launch::Service;
use em_load::{LoadPlan, Phase, Progress, Shape};
use em_telemetry::{Sampler, Target};
use jiff::SignedDuration;
use tracing::warn;

use super::deadline::trial_deadline;
use super::generator::{Event, Generator};
use super::job::{Ended, Failure, Of, reason};
use super::records::rounded;
use super::service::Start;

const SAMPLE_EVERY: Duration = Duration::from_millis(100);
const ALIVE_EVERY: Duration = Duration::from_millis(500);
/// The generator keeps the deadline itself; this is for one that hangs.
const GENERATOR_GRACE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrialEnd {
    /// Measured, or failed for a reason that the next trial need not share.
    HandedIn,
    ServiceDied,
}

/// Measures and hands in. `dim`: numbers per vector, as the parity vectors had.
pub(crate) async fn measure(start: &Start<'_>, service: &mut Service, of: Of<'_>, dim: u32) -> TrialEnd {
    let run = start.run;
    let started_at = Timestamp::now();
    run.metrics.trial_begins(of.backend, of.trial.batch_size);
    let sampler = start_sampler(start, service);
    let mut ended = drive(start, service, of, dim, sampler.as_ref()).await;
    if ended.is_ok() && !service.alive() {
        ended = Err(Stopped::Died);
    }
    if matches!(ended, Err(Stopped::Died | Stopped::Load { .. })) && run.stop.stopped_by_now().await {
        ended = Err(Stopped::Outside);
    }
    if let Ok(load) = &ended {
        run.headroom.learn(of.backend, load);
    }
    let counts = ended.as_ref().ok().map(|load| &load.counts);
    run.metrics.trial_ends(counts);
    run.recorder.record(RecordBody::Exposition { text: run.metrics.text() });
    let series = ended.as_ref().ok().and_then(|load| cut(sampler.as_ref()?, load));
    drop(sampler);
    let end = if matches!(ended, Err(Stopped::Died)) { TrialEnd::ServiceDied } else { TrialEnd::HandedIn };
    let outcome = match ended {
        Ok(load) => Outcome::Measured { load },
        Err(Stopped::Outside) => Outcome::Interrupted { message: run.stop.reason() },
        Err(Stopped::Died) => {
            failed(reason::SERVICE_DIED, format!("while it was measured: {}", service.ending()), service.log_tail())
        }
        Err(Stopped::Load { message, log }) => {
            let message = with_memory_trouble(message, service);
            failed(reason::LOAD_FAILED, message, both(&log, &service.log_tail()))
        }
    };
    run.hand_in(of, Ended { started_at, outcome, service: Some(service.report.clone()), series }).await;
    end
}

/// Why there is no load report.
enum Stopped {
    Outside,
    Died,
    Load { message: String, log: String },
}

/// Runs the generator to its end, or ends it.
async fn drive(
    start: &Start<'_>,
    service: &mut Service,
    of: Of<'_>,
    dim: u32,
    sampler: Option<&Sampler>,
) -> Result<Box<LoadReport>, Stopped> {
    let run = start.run;
    let plan = load_plan(start, service, of, dim);
    let folder = run.job.load_work(run.epoch, of.trial.id);
    let mut generator = Generator::start(&run.exe, &folder, &plan, &run.recorder, of.trial.id)
        .map_err(|problem| Stopped::Load { message: crate::chain(&problem), log: String::new() })?;
    let deadline = tokio::time::sleep(plan.deadline.0 + GENERATOR_GRACE);
    tokio::pin!(deadline);
    let mut alive = tokio::time::interval(ALIVE_EVERY);
    let mut live = Live { start, of, sampler, phase: Phase::Loading };
    loop {
        tokio::select! {
            () = run.stop.token().cancelled() => {
                generator.stop().await;
                return Err(Stopped::Outside);
            }
            event = generator.next() => match event {
                Event::Progress(progress) => live.tell(&progress),
                Event::Ended(Ok(status)) => {
                    let report = generator.report(status).await;
                    return match report {
                        Err(_) if !service.alive() => Err(Stopped::Died),
                        report => report.map_err(|failure| Stopped::Load { message: failure.message, log: failure.messages }),
                    };
                }
                Event::Ended(Err(problem)) => {
                    let log = generator.stop().await;
                    return Err(Stopped::Load { message: format!("waiting for the load generator: {problem}"), log });
                }
            },
            _ = alive.tick() => if !service.alive() {
                generator.stop().await;
                return Err(Stopped::Died);
            },
            () = &mut deadline => {
                let log = generator.stop().await;
                return Err(Stopped::Load { message: format!("the trial did not end within its {}", plan.deadline), log });
            }
        }
    }
}

fn load_plan(start: &Start<'_>, service: &Service, of: Of<'_>, dim: u32) -> LoadPlan {
    let load = &start.run.job.plan.load;
    LoadPlan {
        url: service.endpoint(load.wire),
        wire: load.wire,
        model: service.model_name.clone(),
        fields: service.request_fields.clone(),
        api_key_file: service.key.file.clone(),
        api_key_env: service.key.variable.clone(),
        level: of.trial.load,
        batch_size: of.trial.batch_size,
        warmup: load.warmup,
        duration: load.duration,
        timeout: load.timeout,
        min_requests: load.min_requests,
        arrival: load.arrival,
        dataset: start.texts.dataset.clone(),
        text_offset: of.trial.text_offset,
        shape: shape(load, of.trial.batch_size, of.trial.load),
        batch_mix: None,
        length_mix: None,
        text_tokens: load.text_tokens,
        expected_dim: Some(dim),
        normalized: start.run.job.plan.model.normalize,
        headroom_requests_per_s: start.run.headroom.of(of.backend, of.trial.batch_size),
        requests: None,
        cores: start.run.placement.generator.clone(),
        deadline: HumanDuration(trial_deadline(load, of.trial.load)),
    }
}

/// Rates of the experiment are in the unit of its axis, those of the generator in requests.
fn shape(load: &Load, batch_size: u32, level: LoadLevel) -> Option<Shape> {
    let texts = if matches!(level, LoadLevel::TextRate(_)) { f64::from(batch_size) } else { 1.0 };
    let ramp = load.ramp.map(|ramp| Shape::Ramp { from: ramp.from / texts, to: ramp.to / texts, over: ramp.over });
    let rate = match level {
        LoadLevel::RequestRate(rate) | LoadLevel::TextRate(rate) => Some(rate / texts),
        LoadLevel::Concurrency(_) | LoadLevel::FindMax(_) => None,
    };
    ramp.or_else(|| load.trace.clone().map(|path| Shape::Trace { path: path.into(), rate }))
}

fn start_sampler(start: &Start<'_>, service: &Service) -> Option<Sampler> {
    let gpus = start.backend.device == Device::Cuda || start.run.job.plan.gpus_expected;
    let target = Target { root_pid: service.pid, gpus };
    Sampler::start(target, SAMPLE_EVERY).inspect_err(|problem| warn!("nothing is sampled in this trial: {problem}")).ok()
}

/// The samples inside the measured window.
fn cut(sampler: &Sampler, load: &LoadReport) -> Option<Series> {
    let from = load.window_started_at;
    let to = from + SignedDuration::from_secs_f64(load.window_s);
    let series = sampler.series(from, to);
    (!series.t_ms.is_empty()).then_some(series)
}

/// Says once a second how it goes, and when warm-up and measuring begin.
struct Live<'a> {
    start: &'a Start<'a>,
    of: Of<'a>,
    sampler: Option<&'a Sampler>,
    phase: Phase,
}

impl Live<'_> {
    fn tell(&mut self, progress: &Progress) {
        let run = self.start.run;
        if progress.phase != self.phase {
            self.phase = progress.phase;
            let phase = match progress.phase {
                Phase::WarmUp => Some(AgentPhase::WarmUp),
                Phase::Measuring => Some(AgentPhase::Measuring),
                Phase::Loading | Phase::Draining => None,
            };
            if let Some(phase) = phase {
                let words = format!(
                    "{} batch {}, {}, repetition {}",
                    self.of.backend, self.of.trial.batch_size, self.of.trial.load, self.of.repetition
                );
                run.recorder.phase(phase, &words, Some(self.of.trial.id), Some(self.of.backend));
            }
        }
        let snapshot = self.sampler.and_then(Sampler::latest);
        run.metrics.observe(progress, snapshot.as_ref());
        if progress.phase == Phase::Measuring {
            run.recorder.record(RecordBody::Sample(Sample {
                trial: self.of.trial.id,
                elapsed_s: rounded(progress.elapsed_s),
                texts_per_s: rounded(progress.texts_per_s),
                requests_per_s: rounded(progress.requests_per_s),
                errors: progress.errors,
                p50_ms: progress.p50_ms.map(rounded),
                p99_ms: progress.p99_ms.map(rounded),
                cpu_cores: snapshot.as_ref().and_then(|snapshot| snapshot.cpu_cores).map(rounded),
                memory_bytes: snapshot.as_ref().and_then(|snapshot| snapshot.memory_bytes),
                gpu_utilization: snapshot.as_ref().and_then(|snapshot| snapshot.gpu_utilization).map(rounded),
            }));
        }
    }
}

fn failed(reason: &'static str, message: String, log_tail: String) -> Outcome {
    Failure { reason, message, log_tail, service: None }.outcome()
}

/// Requests fail for want of memory while the service lives on.
fn with_memory_trouble(message: String, service: &Service) -> String {
    service.memory_trouble().map_or(message.clone(), |trouble| format!("{message}; {trouble}"))
}

/// Why load failed may stand in either log.
fn both(generator: &str, service: &str) -> String {
    match (generator.trim().is_empty(), service.trim().is_empty()) {
        (true, _) => service.to_owned(),
        (false, true) => generator.to_owned(),
        (false, false) => format!("--- service ---\n{service}\n--- load generator ---\n{generator}"),
    }
}
