//! What the engine counts, under the names of DESIGN 10.

use std::time::Duration;

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

/// Where a request's time goes: `tokenise` and `serialise` per request, `queue` per text, `compute` per batch.
#[derive(Clone, Copy, Debug)]
pub enum Phase {
    Tokenise,
    Queue,
    Compute,
    Serialise,
}

impl Phase {
    fn as_str(self) -> &'static str {
        match self {
            Self::Tokenise => "tokenise",
            Self::Queue => "queue",
            Self::Compute => "compute",
            Self::Serialise => "serialise",
        }
    }
}

pub struct Metrics {
    registry: Registry,
    queue_depth: IntGauge,
    batch_tokens: Histogram,
    batch_texts: Histogram,
    padding_ratio: Histogram,
    phase_seconds: HistogramVec,
    requests: IntCounterVec,
    truncated_texts: IntCounter,
}

const POWERS: [f64; 14] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 16384.0];
const RATIOS: [f64; 9] = [1.0, 1.02, 1.05, 1.1, 1.2, 1.35, 1.5, 2.0, 4.0];
const SECONDS: [f64; 16] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

impl Metrics {
    pub(crate) fn new(dropped_texts: &IntCounter) -> Self {
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())).expect("a fixed, valid name")
        };
        let metrics = Self {
            registry: Registry::new(),
            queue_depth: IntGauge::new("em_embed_queue_depth", "Texts that wait").expect("a fixed, valid name"),
            batch_tokens: histogram("em_embed_batch_tokens", "Tokens of a batch, padding included", &POWERS),
            batch_texts: histogram("em_embed_batch_texts", "Texts of a batch", &POWERS),
            padding_ratio: histogram("em_embed_padding_ratio", "Padded over real tokens of a batch; 1 is no waste", &RATIOS),
            phase_seconds: HistogramVec::new(
                HistogramOpts::new("em_embed_phase_seconds", "Time of a phase").buckets(SECONDS.to_vec()),
                &["phase"],
            )
            .expect("a fixed, valid name"),
            requests: IntCounterVec::new(Opts::new("em_embed_requests_total", "Answered requests"), &["route", "status"])
                .expect("a fixed, valid name"),
            truncated_texts: IntCounter::new("em_embed_truncated_texts_total", "Texts cut to the model's length")
                .expect("a fixed, valid name"),
        };
        metrics.register(dropped_texts);
        metrics
    }

    fn register(&self, dropped_texts: &IntCounter) {
        let all: [Box<dyn prometheus::core::Collector>; 8] = [
            Box::new(self.queue_depth.clone()),
            Box::new(self.batch_tokens.clone()),
            Box::new(self.batch_texts.clone()),
            Box::new(self.padding_ratio.clone()),
            Box::new(self.phase_seconds.clone()),
            Box::new(self.requests.clone()),
            Box::new(self.truncated_texts.clone()),
            Box::new(dropped_texts.clone()),
        ];
        for collector in all {
            self.registry.register(collector).expect("each name is registered once");
        }
    }

    pub(crate) fn batch(&self, texts: usize, real_tokens: usize, padded_tokens: usize) {
        self.batch_texts.observe(texts as f64);
        self.batch_tokens.observe(padded_tokens as f64);
        self.padding_ratio.observe(padded_tokens as f64 / real_tokens as f64);
    }

    pub fn phase(&self, phase: Phase, time: Duration) {
        self.phase_seconds.with_label_values(&[phase.as_str()]).observe(time.as_secs_f64());
    }

    /// `route`: one of ours, never what a client sent.
    pub fn request(&self, route: &'static str, status: u16) {
        self.requests.with_label_values(&[route, &status.to_string()]).inc();
    }

    pub(crate) fn truncated_texts(&self) -> IntCounter {
        self.truncated_texts.clone()
    }

    pub(crate) fn queue_depth(&self, texts: usize) {
        self.queue_depth.set(i64::try_from(texts).unwrap_or(i64::MAX));
    }

    /// The text exposition format.
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("writing into memory");
        String::from_utf8(text).expect("Prometheus text is UTF-8")
    }
}
