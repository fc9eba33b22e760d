//! What one trial of load is told to do. Complete: a generator needs nothing but this and the data set.

use std::path::PathBuf;

use em_api::HumanDuration;
use em_api::spec::{Arrival, DatasetSource, LoadLevel, TokenRange, Wire};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::LoadError;

/// `plan.json` of `em-agent load --plan`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoadPlan {
    /// The full endpoint, for example `http://127.0.0.1:8002/v1/embeddings`.
    pub url: String,
    pub wire: Wire,
    /// The name that requests carry.
    pub model: String,
    pub level: LoadLevel,
    /// Fields beside the texts that each request carries, for example `{"truncate": true}`.
    #[serde(default)]
    pub fields: Map<String, Value>,
    /// A file that holds the bearer token which requests must carry.
    #[serde(default)]
    pub api_key_file: Option<String>,
    /// An environment variable that holds it instead.
    #[serde(default)]
    pub api_key_env: Option<String>,
    /// Texts per request.
    pub batch_size: u32,
    /// Load that flows before the window opens; nothing is drained in between.
    pub warmup: HumanDuration,
    /// The measured window.
    pub duration: HumanDuration,
    /// A request older than this, counted from its planned send time, is `timedOut`.
    pub timeout: HumanDuration,
    /// The window is extended, up to three times `duration`, until it holds so many valid answers.
    pub min_requests: u64,
    /// Open loop only: how planned send times are spaced.
    pub arrival: Arrival,
    pub dataset: DatasetRef,
    /// Where in the drawn order this trial starts; the same for all backends of a block.
    #[serde(default)]
    pub text_offset: u64,
    /// Only texts of so many words.
    #[serde(default)]
    pub text_tokens: Option<TokenRange>,
    /// Numbers per vector; absent: what the first valid answer has.
    #[serde(default)]
    pub expected_dim: Option<u32>,
    /// Cores that the generator is pinned to.
    #[serde(default)]
    pub cores: Option<Vec<u32>>,
    /// Of the whole trial, loading and draining included.
    pub deadline: HumanDuration,
}

/// Which texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatasetRef {
    pub source: DatasetSource,
    /// A file, or a folder of the input store.
    pub path: PathBuf,
    /// The first so many valid texts of the file are loaded.
    pub limit: u64,
    /// Of the order in which they are drawn.
    pub seed: u64,
}

impl LoadPlan {
    /// Errors: the first field whose value cannot be run, with the cure.
    pub(crate) fn validate(&self) -> Result<(), LoadError> {
        let refuse = |field: &'static str, cure: &str| Err(LoadError::Plan { field, cure: cure.to_owned() });
        if !(self.url.starts_with("http://") || self.url.starts_with("https://")) {
            return refuse("url", "write the full endpoint, for example http://127.0.0.1:8002/v1/embeddings");
        }
        if self.batch_size == 0 {
            return refuse("batchSize", "a request carries at least one text");
        }
        match self.level {
            LoadLevel::Concurrency(users) if !(1..=10_000).contains(&users) => {
                return refuse("level.concurrency", "must be from 1 to 10000");
            }
            LoadLevel::RequestRate(rate) | LoadLevel::TextRate(rate) if !(rate > 0.0 && rate <= 1e6) => {
                return refuse("level", "a rate must be above 0 and at most 1000000 per second");
            }
            _ => {}
        }
        if self.duration.0.is_zero() {
            return refuse("duration", "the measured window must be longer than 0");
        }
        if self.timeout.0.is_zero() {
            return refuse("timeout", "must be longer than 0");
        }
        if let Some(range) = self.text_tokens
            && range.min > range.max
        {
            return refuse("textTokens", "min must not be above max");
        }
        Ok(())
    }

    /// Requests per second that are planned; `None` in a closed loop.
    pub(crate) fn planned_rate(&self) -> Option<f64> {
        match self.level {
            LoadLevel::Concurrency(_) => None,
            LoadLevel::RequestRate(rate) => Some(rate),
            LoadLevel::TextRate(rate) => Some(rate / f64::from(self.batch_size)),
        }
    }
}
