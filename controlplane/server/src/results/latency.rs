//! Latency of a cell: the repetitions' histograms merged, each percentile only where the samples carry it.

use em_api::results::{Latency, Percentile};
use em_stats::{histogram, percentile};
use hdrhistogram::Histogram;

/// Points of the cumulative distribution.
const POINTS: u64 = 100;

/// Histograms in microseconds; results in milliseconds.
pub(crate) fn merged<'a>(parts: impl IntoIterator<Item = &'a Histogram<u64>>) -> Latency {
    let all = histogram::merge(parts);
    let samples = all.len();
    let at = |p: f64| match percentile::of(&all, p) {
        Ok(estimate) => {
            Percentile { value: Some(estimate.value / 1_000.0), upper_bound: Some(estimate.upper / 1_000.0), withheld: None }
        }
        Err(percentile::Withheld { samples: 0, .. }) => {
            Percentile { value: None, upper_bound: None, withheld: Some("no valid trial measured a latency".to_owned()) }
        }
        Err(why) => Percentile { value: None, upper_bound: None, withheld: Some(why.to_string()) },
    };
    Latency {
        samples,
        mean: (samples > 0).then(|| all.mean() / 1_000.0),
        p50: at(0.50),
        p90: at(0.90),
        p95: at(0.95),
        p99: at(0.99),
        max: (samples > 0).then(|| all.max() as f64 / 1_000.0),
        cdf: cdf(&all),
    }
}

/// With fewer samples than points, one point a sample: nothing is drawn that was not measured.
fn cdf(all: &Histogram<u64>) -> Vec<(f64, f64)> {
    let points = POINTS.min(all.len());
    let fractions = (1..=points).map(|point| point as f64 / points as f64);
    fractions.map(|fraction| (all.value_at_quantile(fraction) as f64 / 1_000.0, fraction)).collect()
}
