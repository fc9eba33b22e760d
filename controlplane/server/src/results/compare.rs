//! Backends against each other, paired inside blocks, and the sentences that a person can quote.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use em_api::BlockId;
use em_api::results::{Cell, Comparison, ComparisonVerdict};
use em_api::spec::{LoadLevel, Matrix, Spec};
use em_stats::paired::{self, LEAST_BLOCKS, Paired, Verdict};

use super::trials::Trial;
use super::{cells, load_levels, words};

/// Each pair of backends in each (batch size, load level); `a` is the faster of the two.
pub(crate) fn all(spec: &Spec, trials: &[Trial<'_>], cells: &[Cell]) -> Vec<Comparison> {
    let mut comparisons = Vec::new();
    for batch_size in &spec.matrix.batch_sizes {
        for load in load_levels(&spec.matrix) {
            for (place, first) in spec.backends.iter().enumerate() {
                for second in &spec.backends[place + 1..] {
                    let rates = |name: &str| rates_by_block(trials, name, *batch_size, load);
                    let pairs = common(&rates(&first.name), &rates(&second.name));
                    comparisons.push(comparison(&first.name, &second.name, (*batch_size, load), &pairs, cells, &spec.matrix));
                }
            }
        }
    }
    comparisons
}

/// Best first: differences shown, by size; then what shows none; then what proves nothing.
pub(crate) fn sentences(comparisons: &[Comparison]) -> Vec<String> {
    let rank = |one: &Comparison| match one.verdict {
        ComparisonVerdict::Faster | ComparisonVerdict::Slower => 0,
        ComparisonVerdict::NoDifferenceShown => 1,
        ComparisonVerdict::TooFewRepetitions => 2,
    };
    let size = |one: &Comparison| one.throughput_ratio.map_or(0.0, |ratio| ratio.mean);
    let mut ordered: Vec<&Comparison> = comparisons.iter().collect();
    ordered.sort_by(|x, y| rank(x).cmp(&rank(y)).then(size(y).partial_cmp(&size(x)).unwrap_or(Ordering::Equal)));
    ordered.into_iter().map(|one| one.sentence.clone()).collect()
}

fn rates_by_block(trials: &[Trial<'_>], backend: &str, batch_size: u32, load: LoadLevel) -> BTreeMap<BlockId, f64> {
    let own = trials.iter().filter(|trial| {
        let of = trial.measurement;
        trial.paired && trial.valid() && of.backend == backend && of.batch_size == batch_size && of.load == load
    });
    own.filter_map(|trial| Some((trial.measurement.block, trial.texts_per_second()?))).collect()
}

fn common(first: &BTreeMap<BlockId, f64>, second: &BTreeMap<BlockId, f64>) -> Vec<(f64, f64)> {
    first.iter().filter_map(|(block, rate)| Some((*rate, *second.get(block)?))).collect()
}

fn comparison(
    first: &str,
    second: &str,
    at: (u32, LoadLevel),
    pairs: &[(f64, f64)],
    cells: &[Cell],
    matrix: &Matrix,
) -> Comparison {
    let (batch_size, load) = at;
    let straight = paired::compare(pairs);
    let turned = straight.is_some_and(|paired| paired.ratio.mean < 1.0);
    let swapped: Vec<(f64, f64)> = pairs.iter().map(|(one, other)| (*other, *one)).collect();
    let (a, b, paired) = if turned { (second, first, paired::compare(&swapped)) } else { (first, second, straight) };
    let cell =
        |backend: &str| cells.iter().find(|cell| cell.backend == backend && cell.batch_size == batch_size && cell.load == load);
    let place = words::place(batch_size, load, matrix);
    let latencies = cell(a).zip(cell(b)).and_then(|(a, b)| latencies(a, b));
    Comparison {
        a: a.to_owned(),
        b: b.to_owned(),
        batch_size,
        load,
        throughput_ratio: paired.map(|paired| cells::estimate_of(paired.ratio)),
        verdict: match paired.map(|paired| paired.verdict) {
            Some(Verdict::Faster) => ComparisonVerdict::Faster,
            Some(Verdict::Slower) => ComparisonVerdict::Slower,
            Some(Verdict::NoDifferenceShown) => ComparisonVerdict::NoDifferenceShown,
            Some(Verdict::TooFewBlocks) | None => ComparisonVerdict::TooFewRepetitions,
        },
        smallest_detectable_ratio: paired.and_then(|paired| paired.smallest_detectable),
        sentence: sentence(a, b, &place, paired, latencies),
    }
}

fn sentence(a: &str, b: &str, place: &str, paired: Option<Paired>, latencies: Option<String>) -> String {
    let latencies = latencies.map(|text| format!("; {text}")).unwrap_or_default();
    let Some(paired) = paired else {
        return format!("{a} and {b} cannot be compared at {place}: no block holds valid trials of both");
    };
    let ratio = words::ratio_with_interval(&cells::estimate_of(paired.ratio));
    match paired.verdict {
        Verdict::Faster => format!("{a} answers {ratio} as many texts/s as {b} at {place}{latencies}"),
        Verdict::Slower => format!("{a} answers only {ratio} as many texts/s as {b} at {place}{latencies}"),
        Verdict::NoDifferenceShown => {
            let seen = paired
                .smallest_detectable
                .map(|least| format!("; a difference below {} could have gone unnoticed", words::ratio(least, Some(0.01))));
            format!(
                "no difference shown between {a} and {b} at {place}: {ratio} as many texts/s{}{latencies}",
                seen.unwrap_or_default()
            )
        }
        Verdict::TooFewBlocks => format!(
            "{a} answered {} as many texts/s as {b} at {place} in {}; a verdict takes {LEAST_BLOCKS}{latencies}",
            words::ratio(paired.ratio.mean, None),
            words::count(paired.ratio.n as usize, "repetition"),
        ),
    }
}

/// `p99 41 ms against 96 ms`, or the median where either p99 is not carried.
fn latencies(a: &Cell, b: &Cell) -> Option<String> {
    let both =
        |name: &str, a: Option<f64>, b: Option<f64>| Some(format!("{name} {} against {}", words::millis(a?), words::millis(b?)));
    both("p99", a.latency_ms.p99.value, b.latency_ms.p99.value)
        .or_else(|| both("p50", a.latency_ms.p50.value, b.latency_ms.p50.value))
}
