//! Which measurements count. A block that ran again replaces its earlier run as a whole: ratios are only paired inside one
//! attempt and epoch, where all backends saw the same node and the same hour.

use std::collections::BTreeMap;

use em_api::measurement::{LoadReport, Measurement, Outcome};
use em_api::results::{Parity, ParityVerdict, TrialResult, Verdict, VerdictReason};
use em_api::spec::Spec;
use em_api::{AttemptId, BlockId, TrialId};
use em_stats::{histogram, percentile};
use hdrhistogram::Histogram;

use super::verdict::verdict;
use crate::admit::expand::block_size;

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

/// One run of a block: (attempt, epoch). Attempts made later sort later.
type Run = (AttemptId, u32);

/// In the order of batch sizes, load levels, backends and repetitions; interrupted trials are left out.
pub(crate) fn judge<'a>(spec: &Spec, measurements: &'a [Measurement], parity: &[Parity]) -> Vec<Trial<'a>> {
    let mut blocks: BTreeMap<BlockId, BTreeMap<Run, Vec<&Measurement>>> = BTreeMap::new();
    for measurement in measurements.iter().filter(|one| !matches!(one.outcome, Outcome::Interrupted { .. })) {
        let runs = blocks.entry(measurement.block).or_default();
        runs.entry((measurement.attempt, measurement.epoch)).or_default().push(measurement);
    }
    let mut trials: Vec<Trial> = blocks
        .values()
        .flat_map(|runs| choose(spec, runs))
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

/// The latest run in which every backend of the block has an outcome; without one, the run that measured most. Trials which that run
/// lacks are taken from the latest run that has them, and are never paired.
fn choose<'a>(spec: &Spec, runs: &BTreeMap<Run, Vec<&'a Measurement>>) -> Vec<(&'a Measurement, bool)> {
    let measured = |run: &[&Measurement]| run.iter().filter(|one| matches!(one.outcome, Outcome::Measured { .. })).count();
    let rank = |(run, of): &(&Run, &Vec<&Measurement>)| {
        let complete = of.len() >= block_size(spec);
        (complete, if complete { 0 } else { measured(of) }, **run)
    };
    let chosen = runs.iter().max_by_key(rank).map(|(run, _)| *run);
    let mut trials: BTreeMap<TrialId, (&Measurement, bool)> = BTreeMap::new();
    // Later ones overwrite: failed before measured, old before new, the chosen run last.
    let mut ordered: Vec<(&Run, &Measurement)> = runs.iter().flat_map(|(run, of)| of.iter().map(move |one| (run, *one))).collect();
    ordered.sort_by_key(|(run, one)| (Some(**run) == chosen, matches!(one.outcome, Outcome::Measured { .. }), **run));
    for (run, measurement) in ordered {
        trials.insert(measurement.trial, (measurement, Some(*run) == chosen));
    }
    trials.into_values().collect()
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
        self.report.and_then(|load| rate(load.texts_ok, load.window_s))
    }

    pub(crate) fn requests_per_second(&self) -> Option<f64> {
        self.report.and_then(|load| rate(load.requests_ok, load.window_s))
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
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            verdict: self.verdict?,
            reasons: self.reasons.clone(),
        })
    }
}

fn rate(count: u64, window_s: f64) -> Option<f64> {
    (window_s > 0.0 && window_s.is_finite()).then(|| count as f64 / window_s)
}
