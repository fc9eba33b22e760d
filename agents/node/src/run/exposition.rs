//! The agent's Prometheus text: GPUs and the service's processes (from telemetry), the live load, and who is speaking. It is
//! pushed as a record every 5 s and at the end of a trial; the control plane relays the last one.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use em_api::agent::RecordBody;
use em_api::measurement::OutcomeCounts;
use em_load::Progress;
use em_telemetry::{Exposition as Telemetry, Snapshot};
use prometheus::{CounterVec, GaugeVec, Opts, Registry, TextEncoder};

use super::records::Recorder;

pub(crate) const EVERY: Duration = Duration::from_secs(5);
const SERIES: [&str; 3] = ["experiment", "backend", "batch_size"];

pub(crate) struct Metrics {
    registry: Registry,
    telemetry: Telemetry,
    experiment: String,
    requests: CounterVec,
    texts: CounterVec,
    live: Mutex<Option<Live>>,
}

/// The trial that runs now.
#[derive(Clone, Debug)]
struct Live {
    backend: String,
    batch_size: String,
    requests: f64,
    p50_s: Option<f64>,
    p99_s: Option<f64>,
}

impl Metrics {
    pub(crate) fn new(experiment: &str, node: &str) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let telemetry = Telemetry::register(&registry)?;
        let requests = Opts::new(
            "em_load_requests_total",
            "Requests of the load generator by how they ended; `ok` live, others at the end of a trial",
        );
        let requests = CounterVec::new(requests, &["experiment", "backend", "batch_size", "outcome"])?;
        let texts = CounterVec::new(Opts::new("em_load_texts_total", "Texts in valid answers"), &SERIES)?;
        let info = Opts::new("em_agent_info", "The agent that speaks; always 1");
        let info = GaugeVec::new(info, &["experiment", "node", "version"])?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(texts.clone()))?;
        registry.register(Box::new(info.clone()))?;
        info.with_label_values(&[experiment, node, env!("CARGO_PKG_VERSION")]).set(1.0);
        Ok(Self { registry, telemetry, experiment: experiment.to_owned(), requests, texts, live: Mutex::new(None) })
    }

    pub(crate) fn trial_begins(&self, backend: &str, batch_size: u32) {
        let live =
            Live { backend: backend.to_owned(), batch_size: batch_size.to_string(), requests: 0.0, p50_s: None, p99_s: None };
        *self.live() = Some(live);
    }

    /// `progress` comes once a second, and its rates are those of this second.
    pub(crate) fn observe(&self, progress: &Progress, snapshot: Option<&Snapshot>) {
        match snapshot {
            Some(snapshot) => self.telemetry.observe(snapshot),
            None => self.telemetry.clear(),
        }
        let mut live = self.live();
        let Some(live) = live.as_mut() else { return };
        let series = [self.experiment.as_str(), &live.backend, &live.batch_size];
        self.texts.with_label_values(&series).inc_by(progress.texts_per_s.max(0.0));
        self.requests.with_label_values(&[series[0], series[1], series[2], "ok"]).inc_by(progress.requests_per_s.max(0.0));
        live.requests += progress.requests_per_s.max(0.0);
        live.p50_s = progress.p50_ms.map(|ms| ms / 1e3);
        live.p99_s = progress.p99_ms.map(|ms| ms / 1e3);
    }

    /// `counts`: of its report, where there is one.
    pub(crate) fn trial_ends(&self, counts: Option<&OutcomeCounts>) {
        let Some(live) = self.live().take() else { return };
        let Some(counts) = counts else { return };
        let failures = [
            ("refused", counts.refused),
            ("timed_out", counts.timed_out),
            ("http_status", counts.http_status.values().sum()),
            ("wrong_shape", counts.wrong_shape),
            ("not_finite", counts.not_finite),
            ("late", counts.late),
            ("other", counts.other),
        ];
        for (outcome, count) in failures {
            let labels = [self.experiment.as_str(), &live.backend, &live.batch_size, outcome];
            self.requests.with_label_values(&labels).inc_by(count as f64);
        }
    }

    /// Nothing runs that could be sampled.
    pub(crate) fn service_ended(&self) {
        self.telemetry.clear();
    }

    pub(crate) fn text(&self) -> String {
        let mut text = TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default();
        if let Some(live) = self.live().clone() {
            self.write_latency(&mut text, &live);
        }
        text
    }

    /// The client library has no summary with quantiles; the format is simple. There is no `_sum`: it is not known live.
    fn write_latency(&self, text: &mut String, live: &Live) {
        let labels = format!("experiment=\"{}\",backend=\"{}\",batch_size=\"{}\"", self.experiment, live.backend, live.batch_size);
        text.push_str("# HELP em_load_latency_seconds Planned send time to last byte, of the running trial's phase so far\n");
        text.push_str("# TYPE em_load_latency_seconds summary\n");
        for (quantile, value) in [("0.5", live.p50_s), ("0.99", live.p99_s)] {
            if let Some(value) = value {
                let _ = writeln!(text, "em_load_latency_seconds{{{labels},quantile=\"{quantile}\"}} {value}");
            }
        }
        let _ = writeln!(text, "em_load_latency_seconds_count{{{labels}}} {}", live.requests);
    }

    fn live(&self) -> std::sync::MutexGuard<'_, Option<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records the exposition for as long as it is polled.
pub(crate) async fn push(metrics: &Metrics, recorder: &Recorder) {
    loop {
        recorder.record(RecordBody::Exposition { text: metrics.text() });
        tokio::time::sleep(EVERY).await;
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use em_load::Phase;

    use super::*;

    fn second(requests: f64, p99_ms: Option<f64>) -> Progress {
        Progress {
            phase: Phase::Measuring,
            elapsed_s: 1.0,
            texts_per_s: requests * 16.0,
            requests_per_s: requests,
            errors: 0,
            p50_ms: p99_ms.map(|p99| p99 / 2.0),
            p99_ms,
            total_s: 10.0,
        }
    }

    #[test]
    fn the_running_trial_is_told_live_and_its_failures_at_its_end() {
        let metrics = Metrics::new("minilm", "gpu07").unwrap();
        assert!(metrics.text().contains("em_agent_info{experiment=\"minilm\",node=\"gpu07\",version="));
        assert!(!metrics.text().contains("em_load_latency_seconds"), "no trial, no latency");
        metrics.trial_begins("ort", 16);
        metrics.observe(&second(5.0, None), None);
        metrics.observe(&second(7.0, Some(40.0)), None);
        let series = "experiment=\"minilm\",backend=\"ort\",batch_size=\"16\"";
        let text = metrics.text();
        assert!(text.contains("em_load_texts_total{backend=\"ort\",batch_size=\"16\",experiment=\"minilm\"} 192"), "{text}");
        assert!(text.contains(&format!("em_load_latency_seconds{{{series},quantile=\"0.99\"}} 0.04\n")), "{text}");
        assert!(text.contains(&format!("em_load_latency_seconds_count{{{series}}} 12\n")), "{text}");
        metrics.trial_ends(Some(&OutcomeCounts { ok: 12, timed_out: 3, ..OutcomeCounts::default() }));
        let text = metrics.text();
        assert!(text.contains("outcome=\"timed_out\"} 3"), "{text}");
        assert!(text.contains("outcome=\"ok\"} 12"), "{text}");
        assert!(!text.contains("em_load_latency_seconds"), "{text}");
    }
}
