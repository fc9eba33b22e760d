//! Numbers derived from measurements: `GET /experiments/{name}/results`. Never stored as truth, always recomputable.

use serde::{Deserialize, Serialize};

use crate::measurement::{ColdStart, OutcomeCounts, Resource};
use crate::spec::LoadLevel;
use crate::{AttemptId, ExperimentUid, Timestamp, TrialId};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Results {
    pub experiment: String,
    pub uid: ExperimentUid,
    /// Version of the code that computed this.
    pub code_version: String,
    /// SHA-256 over the hashes of all measurements used.
    pub measurements_sha256: String,
    pub complete: bool,
    pub cells: Vec<Cell>,
    pub comparisons: Vec<Comparison>,
    /// What a person can quote, best first.
    pub sentences: Vec<String>,
    pub parity: Vec<Parity>,
    pub overall: Vec<Overall>,
    pub trials: Vec<TrialResult>,
    pub warnings: Vec<String>,
}

/// One backend variant × batch size × load level, over its repetitions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Cell {
    pub backend: String,
    pub batch_size: u32,
    pub load: LoadLevel,
    /// Trials that count (valid ones).
    pub repetitions: u32,
    pub failed: u32,
    pub invalid: u32,
    pub inconclusive: u32,
    /// Absent when no repetition counts.
    pub texts_per_second: Option<Estimate>,
    pub requests_per_second: Option<Estimate>,
    /// From merged histograms of the repetitions.
    pub latency_ms: Latency,
    pub counts: OutcomeCounts,
    pub success_rate: Option<f64>,
    pub resources: Resources,
    pub cold_start: Option<ColdStart>,
    /// Against the experiment's `slo`; absent without one, or when nothing was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo: Option<SloCheck>,
    /// Why no number of this cell counts, whatever was measured: the backend's vectors failed the parity gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub void: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SloCheck {
    /// Absent: the requests of valid trials cannot carry the percentile.
    pub met: Option<bool>,
    pub message: String,
}

/// A mean over repetitions with a 95 % t interval on the log scale. `low`/`high` are absent below 2 repetitions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    pub mean: f64,
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub n: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    pub samples: u64,
    pub mean: Option<f64>,
    pub p50: Percentile,
    pub p90: Percentile,
    pub p95: Percentile,
    pub p99: Percentile,
    pub max: Option<f64>,
    /// Points of the cumulative distribution for plots: (milliseconds, fraction ≤).
    // As pairs of numbers: generators of clients trip over tuples.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Vec<f64>>))]
    pub cdf: Vec<(f64, f64)>,
}

/// A percentile in milliseconds, or why it is withheld (shown as "—").
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Percentile {
    pub value: Option<f64>,
    /// With 99 % confidence the true percentile is not above this (early-stopping bound of MLPerf Inference).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper_bound: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<String>,
}

/// Means over the measured windows. Absent where the node had no such thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    pub resource: Resource,
    pub cpu_cores: Option<f64>,
    pub memory_peak_bytes: Option<f64>,
    pub gpu_utilization: Option<f64>,
    pub gpu_memory_peak_bytes: Option<f64>,
    pub gpu_power_watts: Option<f64>,
    pub joules_per_million_texts: Option<f64>,
    /// Half of the 95 % interval over that mean: the scatter of repetitions, and what reading the counter leaves open (0.1 s of
    /// power; below 2 repetitions this alone). The meter's own accuracy, 5 % by NVIDIA's word, is the same for all backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joules_per_million_texts_error_ratio: Option<f64>,
    /// Mean over the window: multiprocessors with work on them. Hopper and newer, as the next two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_sm_activity: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_tensor_activity: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_dram_activity: Option<f64>,
}

/// `a` against `b` inside the same blocks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    pub a: String,
    pub b: String,
    pub batch_size: u32,
    pub load: LoadLevel,
    /// Texts per second of `a` over `b`: paired in blocks, t interval on log ratios; unpaired, Welch's t interval on logs.
    pub throughput_ratio: Option<Estimate>,
    pub verdict: ComparisonVerdict,
    /// The smallest ratio above 1 that these data could have told from 1.
    pub smallest_detectable_ratio: Option<f64>,
    /// False when `slurm.shard` ran the two in different jobs.
    #[serde(default = "paired")]
    pub paired: bool,
    pub sentence: String,
}

fn paired() -> bool {
    true
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum ComparisonVerdict {
    Faster,
    Slower,
    NoDifferenceShown,
    TooFewRepetitions,
}

/// Vectors of one backend against those of the reference, over the parity texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Parity {
    pub backend: String,
    pub reference: Option<String>,
    pub texts: u32,
    pub min_cosine: Option<f64>,
    pub mean_cosine: Option<f64>,
    pub max_abs_difference: Option<f64>,
    /// Largest relative difference of vector lengths.
    #[serde(default)]
    pub max_length_difference: Option<f64>,
    /// Share of each text's 10 nearest other texts that both name.
    #[serde(default)]
    pub neighbour_overlap: Option<f64>,
    pub required_cosine: Option<f64>,
    pub verdict: ParityVerdict,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum ParityVerdict {
    Passed,
    Failed,
    /// No reference, or no vectors of it.
    Unknown,
    /// Measured without a gate.
    Reported,
}

/// Geometric mean of texts/s over all cells; missing cells are penalised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Overall {
    pub backend: String,
    pub geometric_mean_texts_per_second: Option<f64>,
    /// Against the best backend (1.0 is the best).
    pub relative: Option<f64>,
    pub missing_cells: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TrialResult {
    pub trial: TrialId,
    pub attempt: AttemptId,
    pub backend: String,
    pub batch_size: u32,
    pub load: LoadLevel,
    pub repetition: u32,
    pub started_at: Timestamp,
    pub window_s: f64,
    pub texts_per_second: f64,
    pub requests_per_second: f64,
    /// Ends of the 95 % interval within this one run: block bootstrap over its seconds. Repetitions scatter more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub texts_per_second_within: Option<Within>,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub verdict: Verdict,
    pub reasons: Vec<VerdictReason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Within {
    pub low: f64,
    pub high: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    Valid,
    Inconclusive,
    Invalid,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VerdictReason {
    /// `client-bound`, `throttled`, `foreign-process`, `too-short`, `errors`, `unsteady`, `limit`, `parity`, `unreadable`.
    pub code: String,
    pub message: String,
}
