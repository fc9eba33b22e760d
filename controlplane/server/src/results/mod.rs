//! Measurements → numbers. Pure; the same code serves the API, the report and the status.

use em_api::agent::ParityVectors;
use em_api::experiment::Experiment;
use em_api::measurement::Measurement;
use em_api::results::{Results, Verdict, VerdictReason};
use em_api::spec::Spec;

/// Everything that results are computed from.
#[derive(Clone, Debug)]
pub struct ResultsInput {
    pub experiment: Experiment,
    /// Accepted ones of all attempts and epochs.
    pub measurements: Vec<Measurement>,
    pub parity: Vec<ParityVectors>,
}

pub fn compute(input: &ResultsInput) -> Results {
    let _ = input;
    todo!("written by the results part")
}

/// Whether a measurement counts. `None`: it was not measured (failed, interrupted).
pub fn verdict(measurement: &Measurement, spec: &Spec) -> Option<(Verdict, Vec<VerdictReason>)> {
    let _ = (measurement, spec);
    None
}
