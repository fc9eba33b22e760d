//! Backends against each other, paired inside blocks where they ran side by side, and the sentences that a person can quote.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use em_api::BlockId;
use em_api::results::{Cell, Comparison, ComparisonVerdict, Parity, ParityVerdict};
use em_api::spec::{LoadLevel, Matrix, ShardBy, Spec};
use em_stats::paired::{self, Contrast, LEAST_BLOCKS, Verdict};
use em_stats::unpaired;

use super::trials::Trial;
use super::{cells, load_levels, words};

/// Each pair of backends in each (batch size, load level); `a` is the faster of the two.
pub(crate) fn all(spec: &Spec, trials: &[Trial<'_>], cells: &[Cell], parity: &[Parity]) -> Vec<Comparison> {
    let mut comparisons = Vec::new();
    for batch_size in &spec.matrix.batch_sizes {
        for load in load_levels(&spec.matrix) {
            for (place, first) in spec.backends.iter().enumerate() {
                for second in &spec.backends[place + 1..] {
                    let rates = |name: &str| rates_by_block(trials, name, *batch_size, load);
                    let rates = Rates::of(spec, rates(&first.name), rates(&second.name));
                    let mut one = comparison(&first.name, &second.name, (*batch_size, load), &rates, cells, &spec.matrix);
                    one.sentence.push_str(&vectors(&one, parity));
                    comparisons.push(one);
                }
            }
        }
    }
    comparisons
}

/// The valid rates of two backends in one place of the matrix.
enum Rates {
    /// Side by side in one job: one pair a block.
    Paired(Vec<(f64, f64)>),
    /// `slurm.shard` parted them.
    Apart(Vec<f64>, Vec<f64>),
}

impl Rates {
    fn of(spec: &Spec, first: BTreeMap<BlockId, f64>, second: BTreeMap<BlockId, f64>) -> Self {
        if spec.slurm.shard == ShardBy::Experiment {
            return Self::Paired(common(&first, &second));
        }
        Self::Apart(first.into_values().collect(), second.into_values().collect())
    }

    fn contrast(&self) -> Option<Contrast> {
        match self {
            Self::Paired(pairs) => paired::compare(pairs),
            Self::Apart(first, second) => unpaired::compare(first, second),
        }
    }

    fn swapped(&self) -> Self {
        match self {
            Self::Paired(pairs) => Self::Paired(pairs.iter().map(|(one, other)| (*other, *one)).collect()),
            Self::Apart(first, second) => Self::Apart(second.clone(), first.clone()),
        }
    }
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

fn comparison(first: &str, second: &str, at: (u32, LoadLevel), rates: &Rates, cells: &[Cell], matrix: &Matrix) -> Comparison {
    let (batch_size, load) = at;
    let straight = rates.contrast();
    let turned = straight.is_some_and(|contrast| contrast.ratio.mean < 1.0);
    let (a, b, contrast) = if turned { (second, first, rates.swapped().contrast()) } else { (first, second, straight) };
    let cell =
        |backend: &str| cells.iter().find(|cell| cell.backend == backend && cell.batch_size == batch_size && cell.load == load);
    let place = words::place(batch_size, load, matrix);
    let latencies = cell(a).zip(cell(b)).and_then(|(a, b)| latencies(a, b));
    Comparison {
        a: a.to_owned(),
        b: b.to_owned(),
        batch_size,
        load,
        throughput_ratio: contrast.map(|contrast| cells::estimate_of(contrast.ratio)),
        verdict: match contrast.map(|contrast| contrast.verdict) {
            Some(Verdict::Faster) => ComparisonVerdict::Faster,
            Some(Verdict::Slower) => ComparisonVerdict::Slower,
            Some(Verdict::NoDifferenceShown) => ComparisonVerdict::NoDifferenceShown,
            Some(Verdict::TooFewBlocks) | None => ComparisonVerdict::TooFewRepetitions,
        },
        smallest_detectable_ratio: contrast.and_then(|contrast| contrast.smallest_detectable),
        paired: matches!(rates, Rates::Paired(_)),
        sentence: sentence(a, b, &place, contrast, rates, latencies),
    }
}

fn sentence(a: &str, b: &str, place: &str, contrast: Option<Contrast>, rates: &Rates, latencies: Option<String>) -> String {
    let apart = if matches!(rates, Rates::Apart(..)) { " (in different jobs, unpaired)" } else { "" };
    let latencies = latencies.map(|text| format!("; {text}")).unwrap_or_default();
    let Some(contrast) = contrast else {
        let lacks = if apart.is_empty() { "no block holds valid trials of both" } else { "one of them has no valid trial" };
        return format!("{a} and {b} cannot be compared at {place}: {lacks}");
    };
    let ratio = words::ratio_with_interval(&cells::estimate_of(contrast.ratio));
    match contrast.verdict {
        Verdict::Faster => format!("{a} answers {ratio} as many texts/s as {b} at {place}{apart}{latencies}"),
        Verdict::Slower => format!("{a} answers only {ratio} as many texts/s as {b} at {place}{apart}{latencies}"),
        Verdict::NoDifferenceShown => {
            let seen = contrast
                .smallest_detectable
                .map(|least| format!("; a difference below {} could have gone unnoticed", words::ratio(least, Some(0.01))));
            format!(
                "no difference shown between {a} and {b} at {place}{apart}: {ratio} as many texts/s{}{latencies}",
                seen.unwrap_or_default()
            )
        }
        Verdict::TooFewBlocks => format!(
            "{a} answered {} as many texts/s as {b} at {place}{apart} in {}; a verdict takes {LEAST_BLOCKS}{latencies}",
            words::ratio(contrast.ratio.mean, None),
            words::count(contrast.ratio.n as usize, "repetition"),
        ),
    }
}

/// What a reader must know of the vectors beside the speed: which of the two failed its gate, or was let through without one.
fn vectors(of: &Comparison, parity: &[Parity]) -> String {
    let told = |name: &String| {
        let one = parity.iter().find(|one| one.backend == *name)?;
        match (one.verdict, one.min_cosine) {
            (ParityVerdict::Failed, _) => Some(format!("the vectors of {name} failed the parity gate")),
            (ParityVerdict::Reported, Some(cosine)) => {
                let overlap = one.neighbour_overlap.map(|share| format!(", {} of neighbours kept", words::overlap(share)));
                Some(format!("vectors of {name}: least cosine {cosine:.3}{}", overlap.unwrap_or_default()))
            }
            _ => None,
        }
    };
    [&of.a, &of.b].into_iter().filter_map(told).map(|told| format!("; {told}")).collect()
}

/// `p99 41 ms against 96 ms`, or the median where either p99 is not carried.
fn latencies(a: &Cell, b: &Cell) -> Option<String> {
    let both =
        |name: &str, a: Option<f64>, b: Option<f64>| Some(format!("{name} {} against {}", words::millis(a?), words::millis(b?)));
    both("p99", a.latency_ms.p99.value, b.latency_ms.p99.value)
        .or_else(|| both("p50", a.latency_ms.p50.value, b.latency_ms.p50.value))
}
