//! One backend variant × batch size × load level, over its repetitions. Rates, latencies and resources come from valid trials
//! alone; counts and success rate from every measured trial, because leaving the bad ones out would flatter.

use em_api::measurement::{ColdStart, OutcomeCounts};
use em_api::results::{Cell, Estimate, Parity, ParityVerdict, Verdict};
use em_api::spec::{LoadLevel, Spec};
use em_stats::interval;

use super::trials::Trial;
use super::{latency, load_levels, resources, slo};

/// All cells of the matrix, measured or not: by batch size, load level and backend.
pub(crate) fn compute(spec: &Spec, trials: &[Trial<'_>], parity: &[Parity]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for batch_size in &spec.matrix.batch_sizes {
        for load in load_levels(&spec.matrix) {
            for backend in &spec.backends {
                let own: Vec<&Trial> = trials.iter().filter(|trial| belongs(trial, &backend.name, *batch_size, load)).collect();
                let gate = parity.iter().find(|one| one.backend == backend.name && one.verdict == ParityVerdict::Failed);
                let void = gate.filter(|_| own.iter().any(|trial| trial.report.is_some())).map(|gate| gate.message.clone());
                let cell = Cell { void, ..cell(&backend.name, *batch_size, load, &own) };
                cells.push(Cell { slo: spec.slo.as_ref().and_then(|slo| slo::check(slo, &cell)), ..cell });
            }
        }
    }
    cells
}

fn belongs(trial: &Trial<'_>, backend: &str, batch_size: u32, load: LoadLevel) -> bool {
    let of = trial.measurement;
    of.backend == backend && of.batch_size == batch_size && of.load == load
}

fn cell(backend: &str, batch_size: u32, load: LoadLevel, trials: &[&Trial<'_>]) -> Cell {
    let valid: Vec<&Trial> = trials.iter().copied().filter(|trial| trial.valid()).collect();
    let with = |verdict| trials.iter().filter(|trial| trial.verdict == Some(verdict)).count() as u32;
    let mut counts = OutcomeCounts::default();
    for report in trials.iter().filter_map(|trial| trial.report) {
        add(&mut counts, &report.counts);
    }
    let answered = counts.ok + counts.late;
    let asked = answered + counts.errors();
    let parts: Vec<resources::Part> =
        valid.iter().filter_map(|trial| Some((trial.measurement.series.as_ref()?, trial.report?))).collect();
    Cell {
        backend: backend.to_owned(),
        batch_size,
        load,
        repetitions: valid.len() as u32,
        failed: trials.iter().filter(|trial| trial.report.is_none()).count() as u32,
        invalid: with(Verdict::Invalid),
        inconclusive: with(Verdict::Inconclusive),
        texts_per_second: estimate(valid.iter().filter_map(|trial| trial.texts_per_second())),
        requests_per_second: estimate(valid.iter().filter_map(|trial| trial.requests_per_second())),
        latency_ms: latency::merged(valid.iter().filter_map(|trial| trial.latency_us.as_ref())),
        success_rate: (asked > 0).then(|| answered as f64 / asked as f64),
        counts,
        resources: resources::over(&parts),
        cold_start: cold_start(&valid),
        slo: None,
        void: None,
    }
}

fn estimate(values: impl Iterator<Item = f64>) -> Option<Estimate> {
    interval::geometric(&values.collect::<Vec<f64>>()).map(estimate_of)
}

pub(crate) fn estimate_of(interval: interval::Interval) -> Estimate {
    Estimate { mean: interval.mean, low: interval.low, high: interval.high, n: interval.n }
}

fn add(total: &mut OutcomeCounts, part: &OutcomeCounts) {
    total.ok += part.ok;
    total.refused += part.refused;
    total.timed_out += part.timed_out;
    for (status, count) in &part.http_status {
        *total.http_status.entry(*status).or_default() += count;
    }
    total.wrong_shape += part.wrong_shape;
    total.not_finite += part.not_finite;
    total.wrong_norm += part.wrong_norm;
    total.late += part.late;
    total.other += part.other;
}

/// Mean over the repetitions' services; whether the compile cache was warm only where all agree.
fn cold_start(valid: &[&Trial<'_>]) -> Option<ColdStart> {
    let starts: Vec<ColdStart> =
        valid.iter().filter_map(|trial| trial.measurement.service.as_ref()).map(|service| service.cold_start).collect();
    let first = starts.first()?;
    let mean = |of: fn(&ColdStart) -> f64| starts.iter().map(of).sum::<f64>() / starts.len() as f64;
    Some(ColdStart {
        http_ready_s: mean(|start| start.http_ready_s),
        first_vector_s: mean(|start| start.first_vector_s),
        warm_cache: first.warm_cache.filter(|warm| starts.iter().all(|start| start.warm_cache == Some(*warm))),
    })
}
