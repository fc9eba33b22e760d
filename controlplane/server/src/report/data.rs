//! The files for programs: each trial and cell as JSON, the series, the index with hashes.

use anyhow::Context;
use em_api::measurement::Resource;
use em_api::results::Results;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::ReportFile;
use super::names::Entry;
use crate::results::ResultsInput;

/// One trial as it was handed in (its series has a file of its own), with what the results make of it.
pub(super) fn trial(input: &ResultsInput, results: &Results, place: usize) -> anyhow::Result<Vec<u8>> {
    let measurement = &input.measurements[place];
    let same = |one: &&em_api::results::TrialResult| {
        (one.trial, one.attempt, one.started_at) == (measurement.trial, measurement.attempt, measurement.started_at)
    };
    let mut facts = serde_json::to_value(measurement).context("writing a measurement")?;
    if let Value::Object(fields) = &mut facts {
        fields.remove("series");
    }
    pretty(&json!({
        "kind": "trial",
        "experiment": input.experiment.metadata.name,
        "uid": input.experiment.metadata.uid,
        // Absent for a trial that failed, was interrupted, or was replaced when its block ran again.
        "result": results.trials.iter().find(same),
        "measurement": facts,
    }))
}

/// The samples of one trial; `describes` says of what.
pub(super) fn series(input: &ResultsInput, place: usize) -> anyhow::Result<Vec<u8>> {
    let measurement = &input.measurements[place];
    let describes = match measurement.series.as_ref().map(|series| series.resource) {
        Some(Resource::Gpu) => "GPUs of the job, CPU and memory of the service's processes",
        _ => "CPU and memory of the service's processes: there was no GPU",
    };
    pretty(&json!({
        "kind": "series",
        "describes": describes,
        "experiment": input.experiment.metadata.name,
        "uid": input.experiment.metadata.uid,
        "trial": measurement.trial,
        "backend": measurement.backend,
        "batchSize": measurement.batch_size,
        "load": measurement.load,
        "repetition": measurement.repetition,
        "node": measurement.environment.node,
        "series": measurement.series,
        // Lowest, mean and highest sample of each second.
        "perSecond": measurement.series.as_ref().map(em_api::measurement::Series::per_second),
    }))
}

pub(super) fn cell(input: &ResultsInput, results: &Results, place: usize) -> anyhow::Result<Vec<u8>> {
    pretty(&json!({
        "kind": "cell",
        "experiment": input.experiment.metadata.name,
        "uid": input.experiment.metadata.uid,
        "cell": results.cells[place],
    }))
}

pub(super) fn results(results: &Results) -> anyhow::Result<Vec<u8>> {
    pretty(&serde_json::to_value(results).context("writing the results")?)
}

/// Every other file with its kind, trial, size and hash.
pub(super) fn index(input: &ResultsInput, results: &Results, entries: &[Entry], files: &[ReportFile]) -> anyhow::Result<Vec<u8>> {
    let listed = entries.iter().zip(files).map(|(entry, file)| {
        json!({
            "path": file.path,
            "kind": entry.content.kind(),
            "trial": entry.trial,
            "bytes": file.bytes.len(),
            "sha256": hex::encode(Sha256::digest(&file.bytes)),
        })
    });
    pretty(&json!({
        "experiment": input.experiment.metadata.name,
        "uid": input.experiment.metadata.uid,
        "codeVersion": results.code_version,
        "measurementsSha256": results.measurements_sha256,
        "files": listed.collect::<Vec<_>>(),
    }))
}

fn pretty(value: &Value) -> anyhow::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value).context("writing JSON")?;
    bytes.push(b'\n');
    Ok(bytes)
}
