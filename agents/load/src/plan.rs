//! What one trial of load is told to do. Complete: a generator needs nothing but this and the data set.

use std::collections::BTreeMap;
use std::path::PathBuf;

use em_api::HumanDuration;
use em_api::spec::{Arrival, DatasetSource, LoadLevel, TokenRange, Wire};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::LoadError;

/// A shorter probe holds too few requests to say anything.
const SHORTEST_PROBE: std::time::Duration = std::time::Duration::from_secs(1);

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
    /// Open loop: a rate that changes, or the send times of a file.
    #[serde(default)]
    pub shape: Option<Shape>,
    /// Texts per request, drawn by their shares, in place of `batchSize`.
    #[serde(default)]
    pub batch_mix: Option<Vec<BatchShare>>,
    /// Words per text, drawn by their shares; of each length the texts nearest to it.
    #[serde(default)]
    pub length_mix: Option<Vec<LengthShare>>,
    /// Only texts of so many words.
    #[serde(default)]
    pub text_tokens: Option<TokenRange>,
    /// Numbers per vector; absent: what the first valid answer has.
    #[serde(default)]
    pub expected_dim: Option<u32>,
    /// Whether every vector must have the length 1.
    #[serde(default)]
    pub normalized: bool,
    /// What this generator reaches against its null server with requests of this shape; absent: measured after the trial.
    #[serde(default)]
    pub headroom_requests_per_s: Option<f64>,
    /// Where every request is written to, as Parquet.
    #[serde(default)]
    pub requests: Option<PathBuf>,
    /// Cores that the generator is pinned to.
    #[serde(default)]
    pub cores: Option<Vec<u32>>,
    /// Of the whole trial, loading and draining included.
    pub deadline: HumanDuration,
}

/// How an open loop's rate changes; rates are requests per second. The warm-up has the rate of the begin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Shape {
    /// `from` until the window opens, then in a straight line to `to` within `over`, then `to`.
    Ramp { from: f64, to: f64, over: HumanDuration },
    /// One rate after the other from the begin of the window on; the last one stays.
    Steps(Vec<Step>),
    /// Send times of a file; see [`trace`](crate::trace). After its end it begins anew. `rate`: times are stretched so that this is
    /// its mean; absent: as they are.
    Trace {
        path: PathBuf,
        #[serde(default)]
        rate: Option<f64>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    pub rate: f64,
    pub length: HumanDuration,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchShare {
    pub texts: u32,
    /// Relative to the other shares.
    pub share: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LengthShare {
    pub words: u32,
    /// Relative to the other shares.
    pub share: f64,
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
        let rate = |rate: f64| rate > 0.0 && rate <= 1e6;
        match self.level {
            LoadLevel::Concurrency(users) if !(1..=10_000).contains(&users) => {
                return refuse("level.concurrency", "must be from 1 to 10000");
            }
            LoadLevel::RequestRate(level) | LoadLevel::TextRate(level) if !rate(level) => {
                return refuse("level", "a rate must be above 0 and at most 1000000 per second");
            }
            LoadLevel::FindMax(search) if search.p99_ms.is_nan() || search.p99_ms <= 0.0 => {
                return refuse("level.findMax.p99Ms", "must be above 0");
            }
            LoadLevel::FindMax(search) if search.probe.0 < SHORTEST_PROBE => {
                return refuse("level.findMax.probe", "must be 1s or longer");
            }
            LoadLevel::FindMax(_) if self.requests.is_some() => {
                return refuse("requests", "are not written while a largest rate is searched; give the rate that was found");
            }
            _ => {}
        }
        match &self.shape {
            Some(_) if !matches!(self.level, LoadLevel::RequestRate(_) | LoadLevel::TextRate(_)) => {
                return refuse("shape", "belongs to a rate: set `level` to requestRate or textRate");
            }
            Some(Shape::Ramp { from, to, .. }) if !(rate(*from) && rate(*to)) => {
                return refuse("shape.ramp", "rates must be above 0 and at most 1000000 per second");
            }
            Some(Shape::Trace { rate: Some(mean), .. }) if !rate(*mean) => {
                return refuse("shape.trace.rate", "must be above 0 and at most 1000000 per second");
            }
            Some(Shape::Steps(steps)) if steps.is_empty() || steps.iter().any(|step| !rate(step.rate)) => {
                return refuse("shape.steps", "give at least one; rates must be above 0 and at most 1000000 per second");
            }
            _ => {}
        }
        let share = |share: f64| share > 0.0 && share.is_finite();
        if self.batch_mix.as_ref().is_some_and(|mix| mix.is_empty() || mix.iter().any(|one| one.texts == 0 || !share(one.share))) {
            return refuse("batchMix", "give sizes and shares above 0");
        }
        if self.length_mix.as_ref().is_some_and(|mix| mix.is_empty() || mix.iter().any(|one| !share(one.share))) {
            return refuse("lengthMix", "give lengths with shares above 0");
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

    /// What a report keeps of the plan beside fields of its own: values as JSON. Not what tells where it ran and which of several
    /// generators it was for (paths, cores, keys, the deadline).
    pub(crate) fn asked(&self) -> BTreeMap<String, String> {
        const NOT_KEPT: [&str; 10] = [
            "url",
            "level",
            "batchSize",
            "dataset",
            "apiKeyFile",
            "apiKeyEnv",
            "headroomRequestsPerS",
            "requests",
            "cores",
            "deadline",
        ];
        let Ok(Value::Object(fields)) = serde_json::to_value(self) else { return BTreeMap::new() };
        let kept = fields.into_iter().filter(|(name, value)| !value.is_null() && !NOT_KEPT.contains(&name.as_str()));
        kept.map(|(name, value)| (name, value.to_string())).collect()
    }

    /// Requests per second that are planned at the begin; `None` in a closed loop.
    pub(crate) fn planned_rate(&self) -> Option<f64> {
        match (&self.shape, self.level) {
            (_, LoadLevel::Concurrency(_)) => None,
            (Some(Shape::Ramp { from, .. }), _) => Some(*from),
            (Some(Shape::Steps(steps)), _) => steps.first().map(|step| step.rate),
            (_, LoadLevel::RequestRate(rate)) => Some(rate),
            (_, LoadLevel::TextRate(rate)) => Some(rate / self.mean_batch()),
            // The search plans each of its probes by itself.
            (_, LoadLevel::FindMax(_)) => None,
        }
    }

    /// Texts per request, on average.
    pub(crate) fn mean_batch(&self) -> f64 {
        let Some(mix) = &self.batch_mix else { return f64::from(self.batch_size) };
        let shares: f64 = mix.iter().map(|one| one.share).sum();
        mix.iter().map(|one| one.share * f64::from(one.texts)).sum::<f64>() / shares
    }

    /// The largest rate that comes up.
    pub(crate) fn peak_rate(&self) -> Option<f64> {
        let begin = self.planned_rate()?;
        Some(match &self.shape {
            Some(Shape::Ramp { from, to, .. }) => from.max(*to),
            Some(Shape::Steps(steps)) => steps.iter().map(|step| step.rate).fold(begin, f64::max),
            Some(Shape::Trace { .. }) | None => begin,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use em_api::spec::{Arrival, DatasetSource, LoadLevel, Wire};

    use super::*;

    /// One to bend.
    pub(crate) fn plan() -> LoadPlan {
        LoadPlan {
            url: "http://127.0.0.1:9/v1/embeddings".to_owned(),
            wire: Wire::OpenaiFloat,
            model: "m".to_owned(),
            level: LoadLevel::Concurrency(1),
            batch_size: 1,
            warmup: HumanDuration::from_secs(0),
            duration: HumanDuration::from_secs(1),
            timeout: HumanDuration::from_secs(20),
            min_requests: 0,
            arrival: Arrival::Constant,
            dataset: DatasetRef { source: DatasetSource::Text, path: PathBuf::from("texts.txt"), limit: 1_000, seed: 42 },
            text_offset: 0,
            shape: None,
            batch_mix: None,
            length_mix: None,
            api_key_env: None,
            api_key_file: None,
            fields: Default::default(),
            text_tokens: None,
            expected_dim: None,
            normalized: false,
            headroom_requests_per_s: None,
            requests: None,
            cores: None,
            deadline: HumanDuration::from_secs(60),
        }
    }

    #[test]
    fn a_plan_of_an_older_agent_is_still_read() {
        let mut json = serde_json::to_value(plan()).expect("a plan");
        let object = json.as_object_mut().expect("an object");
        for field in ["shape", "batchMix", "lengthMix", "normalized", "headroomRequestsPerS", "requests"] {
            assert!(object.remove(field).is_some(), "{field}");
        }
        assert_eq!(serde_json::from_value::<LoadPlan>(json).expect("a plan"), plan());
    }
}
