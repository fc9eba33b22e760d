//! Load against a real HTTP server in this process: what is counted, what is sent, when, and in which order.

mod cancel;
mod cli;
mod data;
mod files;
mod known;
mod merged;
mod outcomes;
mod pace;
mod parquet_files;
mod prepared;
mod scripted;
mod search;
mod server;
mod shapes;
mod wires;

use std::path::PathBuf;
use std::time::Duration;

use em_api::HumanDuration;
use em_api::measurement::{Histogram, LoadReport};
use em_api::spec::{Arrival, DatasetSource, LoadLevel, Wire};
use em_load::{DatasetRef, LoadPlan};
use tokio_util::sync::CancellationToken;

/// A folder with `texts.txt` of 1,000 lines `text <n> …`.
fn data_set() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("temporary folder");
    let lines: String = (0..1_000).map(|n| format!("text {n} of the data set\n")).collect();
    std::fs::write(folder.path().join("texts.txt"), lines).expect("writing texts");
    folder
}

fn plan(url: &str, data: &tempfile::TempDir, level: LoadLevel) -> LoadPlan {
    LoadPlan {
        url: url.to_owned(),
        wire: Wire::OpenaiFloat,
        model: "m".to_owned(),
        level,
        fields: serde_json::Map::new(),
        api_key_file: None,
        api_key_env: None,
        batch_size: 4,
        warmup: HumanDuration(Duration::ZERO),
        duration: HumanDuration::from_secs(1),
        timeout: HumanDuration::from_secs(20),
        min_requests: 0,
        arrival: Arrival::Constant,
        dataset: DatasetRef { source: DatasetSource::Text, path: PathBuf::from(data.path()), limit: 1_000, seed: 42 },
        text_offset: 0,
        shape: None,
        batch_mix: None,
        length_mix: None,
        text_tokens: None,
        expected_dim: None,
        normalized: false,
        headroom_requests_per_s: Some(1e6),
        requests: None,
        cores: None,
        deadline: HumanDuration::from_secs(60),
    }
}

async fn measure(plan: LoadPlan) -> LoadReport {
    em_load::run(plan, CancellationToken::new(), |_| {}).await.expect("a report")
}

fn decode(histogram: &Histogram) -> hdrhistogram::Histogram<u64> {
    em_stats::histogram::decode(&histogram.0).expect("a histogram")
}

fn quantile_ms(histogram: &Histogram, quantile: f64) -> f64 {
    decode(histogram).value_at_quantile(quantile) as f64 / 1000.0
}
