//! How much load, of what shape, and what a request looks like: the axes of the matrix and `spec.load`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::HumanDuration;

/// The axes beside the backends. Exactly one load axis is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Matrix {
    /// Texts per request.
    pub batch_sizes: Vec<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Vec<u32>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_rate: Option<Vec<f64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_rate: Option<Vec<f64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub find_max: Option<FindMax>,
}

impl Matrix {
    /// The levels of the one load axis that is set.
    pub fn levels(&self) -> Vec<LoadLevel> {
        let concurrency = self.concurrency.iter().flatten().map(|users| LoadLevel::Concurrency(*users));
        let requests = self.request_rate.iter().flatten().map(|rate| LoadLevel::RequestRate(*rate));
        let texts = self.text_rate.iter().flatten().map(|rate| LoadLevel::TextRate(*rate));
        concurrency.chain(requests).chain(texts).chain(self.find_max.map(LoadLevel::FindMax)).collect()
    }
}

/// Each trial searches the largest request rate whose p99 latency stays within the limit, by at most
/// [`MOST_PROBES`](FindMax::MOST_PROBES) open-loop probes.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FindMax {
    /// Of latency from the planned send time; a failed request counts as over it.
    pub p99_ms: f64,
    /// Length of one probe.
    pub probe: HumanDuration,
}

impl FindMax {
    /// Of one trial.
    pub const MOST_PROBES: u32 = 12;
}

/// One load level of a cell.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum LoadLevel {
    /// Closed loop: requests in flight.
    Concurrency(u32),
    /// Open loop: requests per second.
    RequestRate(f64),
    /// Open loop: texts per second.
    TextRate(f64),
    /// Open loop: the largest rate that meets a limit is searched.
    FindMax(FindMax),
}

impl LoadLevel {
    /// The part of a file name: `c10`, `rate250`, `textrate4000`, `max50ms`.
    pub fn file_tag(self) -> String {
        match self {
            Self::Concurrency(users) => format!("c{users}"),
            Self::RequestRate(rate) => format!("rate{rate}"),
            Self::TextRate(rate) => format!("textrate{rate}"),
            Self::FindMax(search) => format!("max{}ms", search.p99_ms),
        }
    }
}

impl fmt::Display for LoadLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Concurrency(users) => write!(f, "concurrency {users}"),
            Self::RequestRate(rate) => write!(f, "{rate} requests/s"),
            Self::TextRate(rate) => write!(f, "{rate} texts/s offered"),
            Self::FindMax(search) => write!(f, "largest rate with p99 ≤ {} ms", search.p99_ms),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Load {
    /// Measured window of one trial.
    pub duration: HumanDuration,
    pub warmup: HumanDuration,
    pub repetitions: u32,
    pub arrival: Arrival,
    /// Open loop: the rate climbs or falls while the window is measured.
    #[serde(default)]
    pub ramp: Option<Ramp>,
    /// Open loop: send times (and lengths) of a file, in place of a rate; an absolute path, visible on the compute nodes.
    #[serde(default)]
    pub trace: Option<String>,
    /// Only texts of this many tokens (estimated as words when no tokenizer is at hand).
    pub text_tokens: Option<TokenRange>,
    pub wire: Wire,
    /// A request older than this is counted as timed out.
    pub timeout: HumanDuration,
    /// A window is extended, up to three times its length, until it holds so many requests.
    pub min_requests: u64,
    pub service: ServiceScope,
    pub placement: Placement,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Arrival {
    Constant,
    Poisson,
}

/// A rate in the unit of the matrix's axis: `from` until the window opens, then in a straight line to `to`, which it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Ramp {
    pub from: f64,
    pub to: f64,
    pub over: HumanDuration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TokenRange {
    pub min: u32,
    pub max: u32,
}

/// What a request and its answer look like; the same for all backends of an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Wire {
    OpenaiFloat,
    OpenaiBase64,
    Embed,
    Tei,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum ServiceScope {
    PerRepetition,
    PerTrial,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum Placement {
    SameNode,
    SeparateNode,
}
