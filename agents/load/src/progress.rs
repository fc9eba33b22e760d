//! What a running trial says of itself, once a second.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Loading,
    WarmUp,
    Measuring,
    /// The window is closed; answers under way are awaited.
    Draining,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::WarmUp => "warm-up",
            Self::Measuring => "measuring",
            Self::Draining => "draining",
        }
    }
}

/// One line of `em-agent load --progress-json`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub phase: Phase,
    /// Seconds in this phase.
    pub elapsed_s: f64,
    /// Valid answers of the last second.
    pub texts_per_s: f64,
    pub requests_per_s: f64,
    /// In this phase so far.
    pub errors: u64,
    /// From the planned send time, in this phase so far; absent before the first valid answer.
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    /// Planned length of this phase; 0 where nobody can know it.
    pub total_s: f64,
}

impl Progress {
    pub(crate) fn begin(phase: Phase, total_s: f64) -> Self {
        Self { phase, elapsed_s: 0.0, texts_per_s: 0.0, requests_per_s: 0.0, errors: 0, p50_ms: None, p99_ms: None, total_s }
    }
}
