//! The flags that make a plan, for use without one.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use em_api::HumanDuration;
use em_api::spec::{Arrival, DatasetSource, FindMax, LoadLevel, TokenRange, Wire};
use serde::de::DeserializeOwned;

use super::values;
use crate::{BatchShare, DatasetRef, LengthShare, LoadPlan, Shape, Step};

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
    /// Texts per request by shares, in place of --batch-size, for example 1:0.7,16:0.3.
    #[arg(long, value_name = "N:SHARE,…", value_delimiter = ',', value_parser = values::batch_share)]
    pub batch_mix: Option<Vec<BatchShare>>,
    #[command(flatten)]
    pub level: Level,
    /// The rate climbs or falls while it is measured, for example 50:400:60s (from, to, within); the level is its end.
    #[arg(long, value_name = "FROM:TO:TIME", value_parser = values::ramp, conflicts_with_all = ["steps", "trace"])]
    pub ramp: Option<Shape>,
    /// One request rate after the other, for example 100:30s,200:30s; they begin with the window.
    #[arg(long, value_name = "RATE:TIME,…", value_delimiter = ',', value_parser = values::step, conflicts_with = "trace")]
    pub steps: Option<Vec<Step>>,
    /// Send at the times of a file, in place of a rate: CSV with a header (at_s or timestamp_ms, texts, words), or JSON lines
    /// with `timestamp` (milliseconds) and `input_length`.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Length of one probe of --find-max.
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub probe: HumanDuration,
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
    /// What the data set is: msmarco, wordnet, tsv, jsonl, parquet or text.
    #[arg(long, value_name = "SOURCE", default_value = "text", value_parser = word::<DatasetSource>)]
    pub dataset: DatasetSource,
    /// File or folder of the data set, or a pattern with `*` in its last part.
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
    /// Only texts of so many words, for example 10:100.
    #[arg(long, value_name = "MIN:MAX", value_parser = values::range)]
    pub words: Option<TokenRange>,
    /// Words per text by shares, for example 16:0.5,128:0.5; of each length the texts nearest to it.
    #[arg(long, value_name = "WORDS:SHARE,…", value_delimiter = ',', value_parser = values::length_share, conflicts_with = "words")]
    pub length_mix: Option<Vec<LengthShare>>,
    /// Vectors must have the length 1; others are wrong answers.
    #[arg(long)]
    pub normalized: bool,
    /// Write every request to a Parquet file.
    #[arg(long, value_name = "FILE", conflicts_with = "find_max")]
    pub requests: Option<PathBuf>,
    /// Cores to run on, for example 0,1.
    #[arg(long, value_delimiter = ',')]
    pub cores: Option<Vec<u32>>,
}

/// How hard to push: one of these.
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
    /// Search the largest request rate whose p99 latency stays within so many milliseconds, by at most 12 probes.
    #[arg(long, value_name = "P99_MS")]
    pub find_max: Option<f64>,
}

impl Flags {
    pub fn plan(self) -> anyhow::Result<LoadPlan> {
        let shape = self.ramp.or(self.steps.map(Shape::Steps)).or(self.trace.map(|path| Shape::Trace { path, rate: None }));
        let Level { concurrency, request_rate, text_rate, find_max } = self.level;
        let given = concurrency
            .map(LoadLevel::Concurrency)
            .or(request_rate.map(LoadLevel::RequestRate))
            .or(text_rate.map(LoadLevel::TextRate))
            .or(find_max.map(|p99_ms| LoadLevel::FindMax(FindMax { p99_ms, probe: self.probe })));
        let level = match (&shape, given) {
            (None, given) => given.context(
                "give one of --concurrency, --request-rate, --text-rate and --find-max, or one of --ramp, --steps and --trace",
            )?,
            (Some(_), Some(_)) => anyhow::bail!("--ramp, --steps and --trace are rates of their own: leave the other level out"),
            // A label: what is sent follows from the shape.
            (Some(shape), None) => LoadLevel::RequestRate(values::nominal_rate(shape)?),
        };
        let missing = "give --plan FILE, or --url, --model and --path";
        // The window at its longest, the drain, and time to load the texts.
        let probes = find_max.map_or(Duration::ZERO, |_| (self.probe.0.mul_f64(1.1) + self.timeout.0) * FindMax::MOST_PROBES);
        let longest = self.warmup.0 + self.duration.0 * 3 + self.timeout.0 + probes + Duration::from_secs(300);
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
            shape,
            batch_mix: self.batch_mix,
            length_mix: self.length_mix,
            text_tokens: self.words,
            expected_dim: None,
            normalized: self.normalized,
            headroom_requests_per_s: None,
            requests: self.requests,
            cores: self.cores,
            deadline: longest.into(),
        })
    }
}

/// A word of the API, spelled as in an experiment.
pub(super) fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|error| error.to_string())
}
