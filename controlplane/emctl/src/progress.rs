//! One line that tells how an experiment stands: phase, what it waits for, trial n of m, what is measured, time left. On a
//! terminal it is redrawn in place; elsewhere it is printed when something changes, and now and then.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use em_api::experiment::Experiment;
use em_api::status::{ConditionStatus, ConditionType, Phase, Status};

use crate::human;

/// Between two lines of which only the numbers differ.
const QUIET: Duration = Duration::from_secs(10);

pub(crate) fn line(experiment: &Experiment) -> String {
    let status = &experiment.status;
    let mut parts = vec![status.phase.as_str().to_owned()];
    parts.extend(waits_for(status));
    let (done, total) = (status.trials.succeeded + status.trials.failed, status.trials.total);
    if status.trials.running > 0 && done < total {
        parts.push(format!("trial {} of {total}", done + 1));
    } else {
        parts.push(format!("{} of {total} trials measured", status.trials.succeeded));
    }
    if status.trials.failed > 0 {
        parts.push(format!("{} failed", status.trials.failed));
    }
    if let Some(live) = status.live.as_ref().filter(|_| status.phase == Phase::Running) {
        if let Some(backend) = &live.backend {
            parts.push(live.batch_size.map_or_else(|| backend.clone(), |size| format!("{backend} batch {size}")));
        }
        parts.push(live.phase.clone());
        parts.extend(live.texts_per_second.filter(|rate| *rate > 0.0).map(|rate| format!("{} texts/s", human::number(rate))));
        parts.extend(live.latency_p99_ms.map(|p99| format!("p99 {}", human::millis(p99))));
        parts.extend(live.seconds_left.map(|left| format!("{} left", human::seconds(left))));
    } else if matches!(status.phase, Phase::Pending | Phase::Submitting | Phase::Queued) {
        parts.extend(status.estimated_seconds.map(|work| format!("about {} of work", human::seconds(work))));
    }
    parts.join(" · ")
}

/// Why nothing moves, when nothing does: Slurm away, a silent agent, the queue's reason.
pub(crate) fn waits_for(status: &Status) -> Option<String> {
    let said = |kind, state| {
        let found = status.conditions.iter().find(|condition| condition.kind == kind && condition.status == state);
        found.map(|condition| human::one_line(&condition.message)).filter(|message| !message.is_empty())
    };
    if status.phase.ended() {
        return None;
    }
    let queue = || {
        let job = status.jobs.iter().rfind(|job| job.state == "PENDING")?;
        let id = job.id.as_deref().unwrap_or("?");
        let start = job.expected_start.map(|at| format!(" (starts about {})", human::minute(at))).unwrap_or_default();
        Some(format!("job {id} waits: {}{start}", job.reason.as_deref().unwrap_or("no reason given")))
    };
    // Missing inputs are for the user to bring; Slurm comes back by itself.
    let inputs = || said(ConditionType::InputsReady, ConditionStatus::False);
    if status.phase == Phase::Preparing
        && let Some(missing) = inputs()
    {
        return Some(missing);
    }
    said(ConditionType::SchedulerReachable, ConditionStatus::False)
        .or_else(|| said(ConditionType::Stalled, ConditionStatus::True))
        .or_else(|| said(ConditionType::AgentSilent, ConditionStatus::True))
        .or_else(inputs)
        .or_else(queue)
        .or_else(|| if status.phase == Phase::Queued { said(ConditionType::Queued, ConditionStatus::True) } else { None })
}

/// What of a line is news: a change in it is shown at once. Steps inside a trial are none, or a log would have four lines a trial.
fn news(experiment: &Experiment) -> (Phase, Option<String>, u64, Option<String>) {
    let status = &experiment.status;
    let backend = status.live.as_ref().and_then(|live| live.backend.clone());
    (status.phase, waits_for(status), status.trials.succeeded + status.trials.failed, backend)
}

/// Where the line is shown.
pub(crate) struct Progress {
    terminal: bool,
    last: String,
    last_news: Option<(Phase, Option<String>, u64, Option<String>)>,
    last_at: Instant,
}

impl Progress {
    /// On standard error, so that results can be piped.
    pub(crate) fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), last: String::new(), last_news: None, last_at: Instant::now() }
    }

    pub(crate) fn show(&mut self, experiment: &Experiment) {
        let line = line(experiment);
        if self.terminal {
            return self.redraw(&line);
        }
        let news = news(experiment);
        if line != self.last && (self.last_news.as_ref() != Some(&news) || self.last_at.elapsed() >= QUIET) {
            self.write(&format!("{line}\n"));
            self.last_at = Instant::now();
            (self.last, self.last_news) = (line, Some(news));
        }
    }

    /// A line that stays.
    pub(crate) fn say(&mut self, text: &str) {
        let clear = if self.terminal { "\r\x1b[2K" } else { "" };
        self.write(&format!("{clear}{text}\n"));
        self.last.clear();
    }

    fn redraw(&mut self, line: &str) {
        let columns = terminal_size::terminal_size_of(std::io::stderr()).map_or(80, |(width, _)| usize::from(width.0));
        let cut: String = line.chars().take(columns.saturating_sub(1)).collect();
        if cut != self.last {
            self.write(&format!("\r\x1b[2K{cut}"));
            self.last = cut;
        }
    }

    fn write(&self, text: &str) {
        let mut err = std::io::stderr().lock();
        // Nowhere left to tell; the wait itself goes on.
        let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// An experiment in one phase, as the API shows it.
    pub(crate) fn experiment(phase: &str) -> Experiment {
        let backend = |name: &str, kind: &str| {
            json!({"name": name, "type": kind, "device": "cpu", "dtype": null, "args": [], "env": {}, "python": null, "command": null,
                   "url": null, "apiKeyFile": null, "batch": null, "startTimeout": "5m", "parity": "report"})
        };
        let slurm = json!({"partition": "main", "gres": null, "gpus": null, "gpusPerNode": null, "nodes": 1, "cpusPerTask": 2, "memory": null,
                          "time": "01:00:00", "account": null, "qos": null, "constraint": null, "reservation": null, "nodelist": null,
                          "exclude": null, "exclusive": false, "dependency": null, "begin": null, "nice": null, "requeue": false,
                          "licenses": null, "mailType": null, "mailUser": null, "modules": [], "setup": [], "env": {}, "container": null,
                          "extraArgs": [], "shard": "experiment", "sameNode": false});
        let (trials, jobs, live, message) = parts(phase);
        serde_json::from_value(json!({
            "apiVersion": "em/v1alpha1", "kind": "Experiment",
            "metadata": {"name": format!("demo-{}", phase.to_lowercase()), "labels": {"team": "search"}, "uid": "01JDD2T4C3X5B7N9Q1R3S5T7V9",
                         "owner": "admin", "resourceVersion": 7, "generation": 1, "createdAt": "2026-11-24T12:00:00Z"},
            "spec": {
                "desired": "Run", "model": {"id": "org/model", "revision": "main", "path": null, "pooling": "mean", "normalize": true,
                                            "dtype": "float32", "maxLength": null},
                "dataset": {"source": "wordnet", "path": null, "limit": 100_000, "seed": 42},
                "backends": [backend("hf", "huggingface"), backend("vllm", "vllm")],
                "matrix": {"batchSizes": [16, 32], "concurrency": [2]},
                "load": {"duration": "10s", "warmup": "3s", "repetitions": 3, "arrival": "constant", "textTokens": null,
                         "wire": "openai-float", "timeout": "30s", "minRequests": 20, "service": "perRepetition", "placement": "sameNode"},
                "checks": {"parity": {"reference": "hf"}}, "slo": null, "cost": null,
                "slurm": slurm,
                "retries": 2, "maxContinuations": 10, "retryTrials": false, "priority": 0, "ttl": null, "logsTtl": "30d", "allowDownload": false,
            },
            "status": {"phase": phase, "observedGeneration": 1, "message": message, "conditions": [], "trials": trials, "jobs": jobs,
                       "live": live, "estimatedSeconds": 750},
        }))
        .expect("an experiment")
    }

    fn parts(phase: &str) -> (Value, Value, Value, Value) {
        let trials = |pending: u64, running: u64, succeeded: u64, failed: u64| {
            json!({"total": 12, "pending": pending, "running": running, "succeeded": succeeded, "failed": failed, "interrupted": 0,
                   "invalid": 0, "inconclusive": 0})
        };
        let job = |state: &str, reason: Value| {
            json!([{"id": "4711", "name": "em-1", "cluster": null, "node": "gpu07", "state": state, "attemptId": "01JDD2T4C3X5B7N9Q1R3S5T7V9",
                    "attempt": 1, "epoch": 0, "reason": reason, "expectedStart": "2026-11-24T12:40:00Z", "submittedAt": null, "startedAt": null,
                    "finishedAt": null, "exitCode": null}])
        };
        let live = json!({"at": "2026-11-24T12:20:00Z", "phase": "measuring", "trial": null, "backend": "vllm", "batchSize": 32,
                          "textsPerSecond": 1234.4, "latencyP50Ms": 20.0, "latencyP99Ms": 51.26, "cpuCores": 1.9, "memoryBytes": 1, "gpuUtilization": null,
                          "secondsLeft": 381});
        match phase {
            "Queued" => (trials(12, 0, 0, 0), job("PENDING", json!("Priority")), Value::Null, Value::Null),
            "Running" => (trials(7, 1, 3, 1), job("RUNNING", Value::Null), live, Value::Null),
            _ => (trials(0, 0, 10, 2), job("COMPLETED", Value::Null), Value::Null, json!("2 trials failed: ServiceStartFailed")),
        }
    }

    #[test]
    fn the_line_tells_what_goes_on() {
        let lines: Vec<String> = ["Queued", "Running", "Failed"].iter().map(|phase| line(&experiment(phase))).collect();
        insta::assert_snapshot!(lines.join("\n"), @"
        Queued · job 4711 waits: Priority (starts about Nov 24 12:40 UTC) · 0 of 12 trials measured · about 13 min of work
        Running · trial 5 of 12 · 1 failed · vllm batch 32 · measuring · 1,234 texts/s · p99 51.3 ms · 6 min left
        Failed · 10 of 12 trials measured · 2 failed
        ");
    }

    #[test]
    fn a_scheduler_that_is_away_is_told_before_the_queue() {
        let mut waiting = experiment("Queued");
        let condition = json!({"type": "SchedulerReachable", "status": "False", "reason": "Unreachable", "message": "squeue does not answer:\n no route",
                               "lastTransitionTime": "2026-11-24T12:00:00Z"});
        waiting.status.conditions.push(serde_json::from_value(condition).expect("a condition"));
        assert!(line(&waiting).contains(" · squeue does not answer:; no route · "), "{}", line(&waiting));
    }

    #[test]
    fn changing_numbers_are_no_news_but_a_new_trial_is() {
        let running = experiment("Running");
        let mut faster = running.clone();
        faster.status.live.as_mut().expect("live").texts_per_second = Some(9.0);
        faster.status.live.as_mut().expect("live").phase = "warming up".to_owned();
        assert_eq!(news(&running), news(&faster));
        faster.status.trials.succeeded += 1;
        assert_ne!(news(&running), news(&faster));
    }
}
