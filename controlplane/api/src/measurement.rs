//! What an agent hands in for one trial: facts only. Verdicts and statistics are computed from it, by the server.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::capsule::Build;
use crate::spec::LoadLevel;
use crate::{AttemptId, BlockId, Timestamp, TrialId};

/// `PUT /agent/attempts/{id}/trials/{id}/measurement`. Key: (trial, attempt, epoch); the first accepted wins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Measurement {
    pub trial: TrialId,
    pub block: BlockId,
    pub attempt: AttemptId,
    pub epoch: u32,
    pub backend: String,
    pub batch_size: u32,
    pub load: LoadLevel,
    pub repetition: u32,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    pub outcome: Outcome,
    /// Absent when the service never came up.
    pub service: Option<ServiceReport>,
    /// CPU and memory of the service's process tree, and GPUs where there are any, inside the measured window.
    pub series: Option<Series>,
    pub environment: Environment,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Outcome {
    Measured {
        load: Box<LoadReport>,
    },
    /// The trial's own fault: `ServiceStartFailed`, `ServiceDied`, `ParityFailed`, `LoadFailed`, `GpuNotVisible`.
    Failed {
        reason: String,
        message: String,
        /// The end of the service's log, at most 8 KiB.
        log_tail: String,
    },
    /// Stopped from outside (time limit, cancel); never averaged.
    Interrupted {
        message: String,
    },
}

/// What the load generator saw (also the output of `em-agent load`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LoadReport {
    pub url: String,
    pub level: LoadLevel,
    pub batch_size: u32,
    pub warmup_s: f64,
    /// Begin and length of the measured window. A request belongs to it by its end (closed loop) or planned send time (open).
    pub window_started_at: Timestamp,
    pub window_s: f64,
    /// Whether `minRequests` lengthened the window.
    pub extended: bool,
    pub counts: OutcomeCounts,
    /// Texts in valid answers.
    pub texts_ok: u64,
    pub requests_ok: u64,
    /// From the planned send time to the last byte of a valid answer; microseconds.
    pub latency_us: Histogram,
    /// From the real send to the last byte; microseconds.
    pub service_time_us: Histogram,
    /// Real send minus planned send; microseconds.
    pub slip_us: Histogram,
    pub per_second: Vec<SecondBin>,
    /// Words per text sent inside the window.
    pub text_words: LengthHistogram,
    pub embedding_dim: Option<u32>,
    pub response_bytes: u64,
    pub generator: GeneratorReport,
    pub dataset: DatasetReport,
    /// A few distinct error texts, for people.
    #[serde(default)]
    pub error_examples: Vec<String>,
    /// Of a search for the largest rate. The window and its numbers are those of the highest probe that passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub find_max: Option<FoundMax>,
    /// What else was asked of the generator (`wire`, `arrival`, `timeout`, …): only reports of one plan can be merged.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub plan: BTreeMap<String, String>,
    /// Of a report made of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged: Option<Merged>,
}

/// How the windows of the generators of a merged report lay to each other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Merged {
    pub generators: u32,
    /// Seconds in which all of them were measuring.
    pub overlap_s: f64,
    /// Between the begin of the first window and that of the last, seconds.
    pub spread_s: f64,
}

/// What a search for the largest rate found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FoundMax {
    /// Of latency from the planned send time, milliseconds.
    pub p99_limit_ms: f64,
    /// 0 when no rate that was tried met the limit.
    pub requests_per_s: f64,
    /// 95 % interval (`line`), or the highest rate that passed and the lowest that did not (`bracket`).
    pub low: f64,
    /// Absent when every rate that was tried passed.
    pub high: Option<f64>,
    pub by: FoundBy,
    /// In the order in which they were made.
    pub probes: Vec<ProbeReport>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum FoundBy {
    Line,
    Bracket,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProbeReport {
    /// Offered, requests per second.
    pub requests_per_s: f64,
    pub requests: u64,
    /// Over the limit, or failed.
    pub over: u64,
    pub passed: bool,
    pub p99_ms: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OutcomeCounts {
    pub ok: u64,
    /// Connection refused or reset.
    pub refused: u64,
    pub timed_out: u64,
    /// By status code.
    #[serde(deserialize_with = "statuses")]
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, u64>))]
    pub http_status: BTreeMap<u16, u64>,
    /// Wrong number of vectors or wrong dimension.
    pub wrong_shape: u64,
    /// NaN or infinity in a vector.
    pub not_finite: u64,
    /// A vector of zeros, or one that is not of length 1 though the model normalises.
    #[serde(default)]
    pub wrong_norm: u64,
    /// Valid, but ended after the window had closed: not counted as throughput.
    pub late: u64,
    /// Anything else (unreadable JSON, broken body).
    pub other: u64,
}

/// Keys of JSON are text, and inside of a tagged enum serde takes no number from them.
fn statuses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<u16, u64>, D::Error> {
    let read = BTreeMap::<String, u64>::deserialize(deserializer)?.into_iter();
    let status = |(status, count): (String, u64)| status.parse().map(|status| (status, count));
    read.map(status).collect::<Result<_, _>>().map_err(de::Error::custom)
}

impl OutcomeCounts {
    /// Requests that were answered wrongly or not at all.
    pub fn errors(&self) -> u64 {
        self.refused
            + self.timed_out
            + self.http_status.values().sum::<u64>()
            + self.wrong_shape
            + self.not_finite
            + self.wrong_norm
            + self.other
    }
}

/// An HdrHistogram (1 µs to 120 s, 3 significant digits) in its V2 encoding, base64; see `em_stats::histogram`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Histogram(pub String);

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SecondBin {
    /// Second of the window, from 0.
    pub second: u32,
    pub requests_ok: u64,
    pub texts_ok: u64,
    pub errors: u64,
}

/// Counts of values ≤ `upper[i]` and above the bound before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LengthHistogram {
    pub upper: Vec<u32>,
    pub counts: Vec<u64>,
    pub total_words: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GeneratorReport {
    /// CPU seconds of the generator's process inside the window.
    pub cpu_s: f64,
    /// Cores it may run on.
    pub cores: Vec<u32>,
    /// Largest request rate reached against the built-in null server with answers of the same size; absent if not measured.
    pub headroom_requests_per_s: Option<f64>,
    /// The p99 of the slip of requests that found a free user: lateness of the generator itself, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slip_p99_ms: Option<f64>,
    /// Seconds inside the window that threads of the generator were ready to run and waited for a core, summed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_wait_s: Option<f64>,
    pub version: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DatasetReport {
    pub source: String,
    pub texts: u64,
    pub seed: u64,
    /// SHA-256 over all loaded texts in their drawn order.
    pub sha256: String,
    pub malformed_lines: u64,
}

/// The service that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServiceReport {
    pub kind: String,
    pub command_line: Vec<String>,
    pub port: u16,
    pub pid: Option<u32>,
    pub url: String,
    pub device: String,
    pub dtype: String,
    pub cold_start: ColdStart,
    /// `onnxruntime`, `torch`, `vllm`, `transformers`, … → version.
    pub versions: BTreeMap<String, String>,
    /// What the server says of its own settings: `batch_size`, `cudnn_sdpa`, `threads`, …
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
}

/// Seconds since the process was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ColdStart {
    /// The health route answered.
    pub http_ready_s: f64,
    /// The first vector was returned.
    pub first_vector_s: f64,
    /// Whether a compile cache of an earlier start was there.
    pub warm_cache: Option<bool>,
}

/// Columns over one time base. A missing sample is `null`, a missing column is absent: never zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Series {
    /// `gpu` or `process`: what the columns describe.
    pub resource: Resource,
    /// Wall time of `t_ms` = 0, which is the begin of the measured window.
    pub origin: Timestamp,
    pub t_ms: Vec<i64>,
    /// `cpu_cores`, `memory_bytes`, `threads`, `processes`; per GPU `gpu{i}_utilization_ratio`, `gpu{i}_memory_used_bytes`,
    /// `gpu{i}_power_watts`, `gpu{i}_energy_joules`, `gpu{i}_sm_clock_hertz`, `gpu{i}_temperature_celsius`, `gpu{i}_throttle_reasons`, …
    pub columns: BTreeMap<String, Vec<Option<f64>>>,
    /// Cores that the sampling itself used: CPU seconds of its threads a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampler_cpu_ratio: Option<f64>,
}

/// What the samples of one second lie between.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Spread {
    pub min: f64,
    pub mean: f64,
    pub max: f64,
}

impl Series {
    /// The columns second by second, from 0 on: `null` where a second has no sample.
    pub fn per_second(&self) -> BTreeMap<String, Vec<Option<Spread>>> {
        let second = |at: &i64| usize::try_from(*at / 1_000).ok();
        let seconds = self.t_ms.iter().filter_map(second).max().map_or(0, |last| last + 1);
        let spread = |column: &Vec<Option<f64>>| {
            let mut values = vec![Vec::new(); seconds];
            for (at, value) in self.t_ms.iter().zip(column) {
                if let (Some(second), Some(value)) = (second(at), value) {
                    values[second].push(*value);
                }
            }
            values.iter().map(|values| Spread::of(values)).collect()
        };
        self.columns.iter().map(|(name, column)| (name.clone(), spread(column))).collect()
    }
}

impl Spread {
    /// `None` for no value at all.
    pub fn of(values: &[f64]) -> Option<Self> {
        let min = values.iter().copied().reduce(f64::min)?;
        let max = values.iter().copied().reduce(f64::max)?;
        Some(Self { min, mean: values.iter().sum::<f64>() / values.len() as f64, max })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    Gpu,
    Process,
}

/// The environment capsule: what a reader needs to run the same again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Environment {
    pub node: String,
    pub cpu_model: String,
    pub cores_allowed: u32,
    pub kernel: String,
    pub memory_bytes: u64,
    /// Name and UUID of each GPU of the job.
    pub gpus: Vec<GpuInfo>,
    pub driver: Option<String>,
    pub slurm_job_id: Option<String>,
    pub agent_version: String,
    /// Of git, as the agent was built; absent where the build did not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_revision: Option<String>,
    pub model_sha256: Option<String>,
    /// Anything else worth keeping, flat.
    #[serde(default)]
    pub extra: BTreeMap<String, String>,
}

impl Environment {
    pub fn agent(&self) -> Build {
        Build { version: self.agent_version.clone(), revision: self.agent_revision.clone() }
    }
}

/// What a GPU does not tell is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GpuInfo {
    /// NVML's; of a MIG slice its place among the GPUs of the job.
    pub index: u32,
    pub uuid: String,
    pub name: String,
    pub memory_bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_sm_clock_hertz: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_memory_clock_hertz: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_limit_watts: Option<f64>,
    /// Whether memory is checked for errors: it costs bandwidth on some GPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ecc: Option<bool>,
    /// Whether it is divided into slices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mig: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_of_http_read_back() {
        let counts = OutcomeCounts { http_status: BTreeMap::from([(500, 3)]), ..OutcomeCounts::default() };
        let load = serde_json::json!({
            "url": "", "level": {"concurrency": 1}, "batch_size": 1, "warmup_s": 0.0, "window_started_at": "2026-11-24T04:00:00Z",
            "window_s": 1.0, "extended": false, "counts": counts, "texts_ok": 0, "requests_ok": 0, "latency_us": "",
            "service_time_us": "", "slip_us": "", "per_second": [], "text_words": {"upper": [], "counts": [], "total_words": 0},
            "embedding_dim": null, "response_bytes": 0,
            "generator": {"cpu_s": 0.0, "cores": [], "headroom_requests_per_s": null, "version": ""},
            "dataset": {"source": "", "texts": 0, "seed": 0, "sha256": "", "malformed_lines": 0},
        });
        let outcome: Outcome = serde_json::from_value(serde_json::json!({"kind": "measured", "load": load})).expect("value");
        let text = serde_json::to_string(&outcome).expect("text");
        assert_eq!(serde_json::from_str::<Outcome>(&text).expect("reads back"), outcome);
    }
}
