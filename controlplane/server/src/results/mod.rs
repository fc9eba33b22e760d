//! Measurements → numbers. Pure; the same code serves the API, the report and the status.
//!
//! `trials` chooses the measurements that count and judges each (`verdict`, `parity`); `cells` averages
//! repetitions, `compare` pairs backends inside blocks; `warnings` says what a reader must know first.

pub(crate) mod capsule;
mod cells;
mod compare;
mod digest;
#[cfg(test)]
pub(crate) mod fixture;
mod latency;
mod parity;
mod resources;
mod slo;
#[cfg(test)]
mod tests;
mod trials;
mod verdict;
mod warnings;
pub(crate) mod words;

use em_api::agent::ParityVectors;
use em_api::experiment::Experiment;
use em_api::measurement::Measurement;
use em_api::results::{Overall, Results};
use em_api::spec::{LoadLevel, Matrix, Spec};
use em_api::status::Job;

pub use verdict::verdict;

/// Grows when the same measurements give other numbers.
const CODE: &str = "3";

/// Everything that results are computed from.
#[derive(Clone, Debug)]
pub struct ResultsInput {
    pub experiment: Experiment,
    /// Accepted ones of all attempts and epochs.
    pub measurements: Vec<Measurement>,
    /// In the order of their arrival: the last of a backend is its newest.
    pub parity: Vec<ParityVectors>,
    /// As the last of these measurements found them.
    pub jobs: Vec<Job>,
}

/// Numbers do not depend on the order of the measurements.
pub fn compute(input: &ResultsInput) -> Results {
    let spec = &input.experiment.spec;
    let parity = parity::judge(spec, &input.parity);
    let trials = trials::judge(spec, &input.measurements, &parity);
    let cells = cells::compute(spec, &trials, &parity);
    let comparisons = compare::all(spec, &trials, &cells, &parity);
    let measured = trials.iter().filter(|trial| trial.report.is_some()).count();
    Results {
        experiment: input.experiment.metadata.name.clone(),
        uid: input.experiment.metadata.uid,
        code_version: format!("{}+results.{CODE}", env!("CARGO_PKG_VERSION")),
        measurements_sha256: digest::of(trials.iter().map(|trial| trial.measurement)),
        complete: measured >= expected_trials(spec),
        sentences: compare::sentences(&comparisons),
        overall: overall(spec, &cells),
        warnings: warnings::collect(input, &trials, &cells, &parity),
        trials: trials.iter().filter_map(trials::Trial::result).collect(),
        cells,
        comparisons,
        parity,
    }
}

/// The levels of the one load axis that is set.
pub(crate) fn load_levels(matrix: &Matrix) -> Vec<LoadLevel> {
    matrix.levels()
}

pub(crate) fn expected_trials(spec: &Spec) -> usize {
    spec.backends.len() * spec.matrix.batch_sizes.len() * load_levels(&spec.matrix).len() * spec.load.repetitions as usize
}

fn overall(spec: &Spec, cells: &[em_api::results::Cell]) -> Vec<Overall> {
    let rows: Vec<Vec<Option<f64>>> = spec
        .backends
        .iter()
        .map(|backend| {
            let own = cells.iter().filter(|cell| cell.backend == backend.name);
            own.map(|cell| cell.texts_per_second.map(|estimate| estimate.mean)).collect()
        })
        .collect();
    let means = em_stats::overall::geometric_means(&rows);
    let best = means.iter().flatten().copied().fold(f64::NAN, f64::max);
    let mut overall: Vec<Overall> = spec
        .backends
        .iter()
        .zip(means)
        .zip(&rows)
        .map(|((backend, mean), row)| Overall {
            backend: backend.name.clone(),
            geometric_mean_texts_per_second: mean,
            relative: mean.map(|mean| mean / best),
            missing_cells: row.iter().filter(|rate| rate.is_none()).count() as u32,
        })
        .collect();
    overall.sort_by(|a, b| b.relative.unwrap_or(0.0).total_cmp(&a.relative.unwrap_or(0.0)));
    overall
}
