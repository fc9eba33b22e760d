//! Which measurements count. A block that ran again replaces its earlier run as a whole: ratios are only paired inside one
//! attempt and epoch, where all backends saw the same node and the same hour.

use std::collections::BTreeMap;

use em_api::BlockId;
use em_api::measurement::{LoadReport, Measurement, Outcome};
use em_api::results::{Parity, ParityVerdict, TrialResult, Verdict, VerdictReason, Within};
use em_api::spec::Spec;
use em_stats::{bootstrap, histogram, percentile};
use hdrhistogram::Histogram;

use super::verdict::verdict;
use crate::admit::expand::block_size;
use crate::store::counted::{OutcomeKind, choose};

/// The measurement of one trial that counts, judged.
pub(crate) struct Trial<'a> {
    pub(crate) measurement: &'a Measurement,
    /// Whether it may be paired with the others of its block: they come from the same run of it.
    pub(crate) paired: bool,
    /// Absent when the trial failed.
    pub(crate) report: Option<&'a LoadReport>,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) reasons: Vec<VerdictReason>,
    pub(crate) latency_us: Option<Histogram<u64>>,
}

/// In the order of batch sizes, load levels, backends and repetitions; interrupted trials are left out.
pub(crate) fn judge<'a>(spec: &Spec, measurements: &'a [Measurement], parity: &[Parity]) -> Vec<Trial<'a>> {
    let mut blocks: BTreeMap<BlockId, Vec<&Measurement>> = BTreeMap::new();
    for measurement in measurements {
        blocks.entry(measurement.block).or_default().push(measurement);
    }
    let mut trials: Vec<Trial> = blocks
        .values()
        .flat_map(|block| counting(spec, block))
        .map(|(measurement, paired)| one(spec, measurement, paired, parity))
        .collect();
    let place = |trial: &Trial| {
        let of = trial.measurement;
        let backend = spec.backends.iter().position(|backend| backend.name == of.backend).unwrap_or(usize::MAX);
        (of.batch_size, of.load.file_tag(), backend, of.repetition, of.trial)
    };
    trials.sort_by_key(place);
    trials
}

/// By the rule of [`choose`]; interrupted trials are left out. With each whether it is of the run that the block is taken from.
fn counting<'a>(spec: &Spec, block: &[&'a Measurement]) -> Vec<(&'a Measurement, bool)> {
    let run = |one: &Measurement| (one.attempt, one.epoch);
    let pieces = block.iter().enumerate().map(|(index, one)| (index, one.trial, run(one), OutcomeKind::of(&one.outcome)));
    let counted = choose(block_size(spec), pieces, spec.retry_trials);
    let counting = counted.by_trial.into_values().map(|index| block[index]);
    let ended = counting.filter(|one| !matches!(one.outcome, Outcome::Interrupted { .. }));
    ended.map(|one| (one, Some(run(one)) == counted.run)).collect()
}

fn one<'a>(spec: &Spec, measurement: &'a Measurement, paired: bool, parity: &[Parity]) -> Trial<'a> {
    let report = match &measurement.outcome {
        Outcome::Measured { load } => Some(load.as_ref()),
        _ => None,
    };
    let (mut verdict, mut reasons) =
        verdict(measurement, spec).map_or((None, Vec::new()), |(verdict, reasons)| (Some(verdict), reasons));
    let gate = parity.iter().find(|one| one.backend == measurement.backend && one.verdict == ParityVerdict::Failed);
    if let (Some(gate), Some(_)) = (gate, verdict) {
        verdict = Some(Verdict::Invalid);
        reasons.insert(0, VerdictReason { code: "parity".to_owned(), message: gate.message.clone() });
    }
    Trial {
        measurement,
        paired,
        report,
        verdict,
        reasons,
        latency_us: report.and_then(|load| histogram::decode(&load.latency_us.0).ok()),
    }
}

impl Trial<'_> {
    pub(crate) fn valid(&self) -> bool {
        self.verdict == Some(Verdict::Valid)
    }

    pub(crate) fn texts_per_second(&self) -> Option<f64> {
        match self.report?.find_max.as_ref() {
            Some(found) => Some(found.requests_per_s * f64::from(self.measurement.batch_size)),
            None => self.report.and_then(|load| rate(load.texts_ok, load.window_s)),
        }
    }

    pub(crate) fn requests_per_second(&self) -> Option<f64> {
        match self.report?.find_max.as_ref() {
            Some(found) => Some(found.requests_per_s),
            None => self.report.and_then(|load| rate(load.requests_ok, load.window_s)),
        }
    }

    /// `None` for a trial that was not measured.
    pub(crate) fn result(&self) -> Option<TrialResult> {
        let load = self.report?;
        let of = self.measurement;
        let at =
            |p: f64| self.latency_us.as_ref().and_then(|latency| percentile::of(latency, p).ok()).map(|one| one.value / 1_000.0);
        Some(TrialResult {
            trial: of.trial,
            attempt: of.attempt,
            backend: of.backend.clone(),
            batch_size: of.batch_size,
            load: of.load,
            repetition: of.repetition,
            started_at: of.started_at,
            window_s: load.window_s,
            texts_per_second: self.texts_per_second().unwrap_or(0.0),
            requests_per_second: self.requests_per_second().unwrap_or(0.0),
            texts_per_second_within: within(load, of.batch_size),
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            verdict: self.verdict?,
            reasons: self.reasons.clone(),
        })
    }
}

/// What this one run says of its own mean: a search's interval, else a bootstrap over the seconds of the window.
fn within(load: &LoadReport, batch_size: u32) -> Option<Within> {
    if let Some(found) = &load.find_max {
        let texts = f64::from(batch_size);
        return Some(Within { low: found.low * texts, high: found.high? * texts });
    }
    let whole = load.window_s.max(0.0) as usize;
    let seconds: Vec<f64> = load.per_second.iter().take(whole).map(|bin| bin.texts_ok as f64).collect();
    let (_, low, high) = bootstrap::mean(&seconds)?;
    Some(Within { low, high })
}

fn rate(count: u64, window_s: f64) -> Option<f64> {
    (window_s > 0.0 && window_s.is_finite()).then(|| count as f64 / window_s)
}
