//! The flags that make a plan, for use without one.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use em_api::HumanDuration;
use em_api::spec::{Arrival, DatasetSource, LoadLevel, Wire};
use serde::de::DeserializeOwned;

use crate::{DatasetRef, LoadPlan};

#[derive(Clone, Debug, clap::Args)]
pub struct Flags {
    /// The full endpoint, for example http://127.0.0.1:8002/v1/embeddings.
    #[arg(long, required_unless_present = "plan", conflicts_with = "plan")]
    pub url: Option<String>,
    /// What requests and answers look like: openai-float, openai-base64, embed or tei.
    #[arg(long, default_value = "openai-float", value_parser = word::<Wire>)]
    pub wire: Wire,
    /// The model's name in requests.
    #[arg(long, required_unless_present = "plan", conflicts_with = "plan")]
    pub model: Option<String>,
    /// A file that holds the bearer token of a protected server.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["plan", "api_key_env"])]
    pub api_key_file: Option<String>,
    /// The environment variable that holds it instead.
    #[arg(long, value_name = "NAME", conflicts_with = "plan")]
    pub api_key_env: Option<String>,
    /// Texts per request.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch_size: u32,
    #[command(flatten)]
    pub level: Level,
    /// Spacing of planned requests: constant or poisson.
    #[arg(long, default_value = "constant", value_parser = word::<Arrival>)]
    pub arrival: Arrival,
    /// The measured window.
    #[arg(long, default_value = "30s")]
    pub duration: HumanDuration,
    /// Load before the window.
    #[arg(long, default_value = "5s")]
    pub warmup: HumanDuration,
    /// A request older than this has timed out.
    #[arg(long, default_value = "30s")]
    pub timeout: HumanDuration,
    /// The window is extended, up to three times, until it holds so many valid answers.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub min_requests: u64,
    /// What the data set is: msmarco, wordnet, tsv, jsonl or text.
    #[arg(long, value_name = "SOURCE", default_value = "text", value_parser = word::<DatasetSource>)]
    pub dataset: DatasetSource,
    /// File or folder of the data set.
    #[arg(long, required_unless_present = "plan", conflicts_with = "plan")]
    pub path: Option<PathBuf>,
    /// Texts to load.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub limit: u64,
    /// Seed of the order of texts, and of Poisson arrivals.
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Where in that order to start.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub text_offset: u64,
    /// Cores to run on, for example 0,1.
    #[arg(long, value_delimiter = ',')]
    pub cores: Option<Vec<u32>>,
}

/// How hard to push: one of the three.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "load", multiple = false, conflicts_with = "plan")]
pub struct Level {
    /// Closed loop: requests under way.
    #[arg(long, value_name = "N")]
    pub concurrency: Option<u32>,
    /// Open loop: requests per second.
    #[arg(long, value_name = "RATE")]
    pub request_rate: Option<f64>,
    /// Open loop: texts per second.
    #[arg(long, value_name = "RATE")]
    pub text_rate: Option<f64>,
}

impl Flags {
    pub fn plan(self) -> anyhow::Result<LoadPlan> {
        let Level { concurrency, request_rate, text_rate } = self.level;
        let level = concurrency
            .map(LoadLevel::Concurrency)
            .or(request_rate.map(LoadLevel::RequestRate))
            .or(text_rate.map(LoadLevel::TextRate))
            .context("give one of --concurrency, --request-rate and --text-rate")?;
        let missing = "give --plan FILE, or --url, --model and --path";
        // The window at its longest, the drain, and time to load the texts.
        let longest = self.warmup.0 + self.duration.0 * 3 + self.timeout.0 + Duration::from_secs(300);
        Ok(LoadPlan {
            url: self.url.context(missing)?,
            wire: self.wire,
            model: self.model.context(missing)?,
            fields: serde_json::Map::new(),
            api_key_file: self.api_key_file,
            api_key_env: self.api_key_env,
            level,
            batch_size: self.batch_size,
            warmup: self.warmup,
            duration: self.duration,
            timeout: self.timeout,
            min_requests: self.min_requests,
            arrival: self.arrival,
            dataset: DatasetRef { source: self.dataset, path: self.path.context(missing)?, limit: self.limit, seed: self.seed },
            text_offset: self.text_offset,
            text_tokens: None,
            expected_dim: None,
            cores: self.cores,
            deadline: longest.into(),
        })
    }
}

/// A word of the API, spelled as in an experiment.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|error| error.to_string())
}
