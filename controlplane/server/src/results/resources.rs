//! Resources of a cell from its trials' series, inside the measured windows only. A column that no node had stays absent.

use em_api::measurement::{LoadReport, Resource, Series};
use em_api::results::Resources;

/// One trial's series with what it did meanwhile.
pub(crate) type Part<'a> = (&'a Series, &'a LoadReport);

/// Means over trials of means over time; peaks over all.
pub(crate) fn over(parts: &[Part<'_>]) -> Resources {
    let average = |of: &dyn Fn(&Part<'_>) -> Option<f64>| mean(parts.iter().filter_map(of));
    let peak = |of: &dyn Fn(&Part<'_>) -> Option<f64>| parts.iter().filter_map(of).reduce(f64::max);
    let gpu = parts.iter().any(|(series, _)| series.resource == Resource::Gpu);
    Resources {
        resource: if gpu { Resource::Gpu } else { Resource::Process },
        cpu_cores: average(&|part| mean(samples(part, "cpu_cores").into_iter())),
        memory_peak_bytes: peak(&|part| samples(part, "memory_bytes").into_iter().reduce(f64::max)),
        gpu_utilization: average(&|part| mean(gpus(part, "utilization_ratio").into_iter().flatten())),
        gpu_memory_peak_bytes: peak(&|part| {
            sum(gpus(part, "memory_used_bytes").into_iter().map(|gpu| gpu.into_iter().reduce(f64::max)))
        }),
        gpu_power_watts: average(&|part| sum(gpus(part, "power_watts").into_iter().map(|gpu| mean(gpu.into_iter())))),
        joules_per_million_texts: average(&joules_per_million_texts),
    }
}

/// From the energy counters alone: power samples see a quarter of the time on some GPUs.
fn joules_per_million_texts(part: &Part<'_>) -> Option<f64> {
    let (series, load) = part;
    let columns = series.columns.iter().filter(|(name, _)| is_gpu_column(name, "energy_joules"));
    let mut joules = None;
    let mut covered_s: f64 = 0.0;
    for (_, column) in columns {
        let inside: Vec<(i64, f64)> = timed(series, column, load.window_s).collect();
        let (first, last) = (inside.first()?, inside.last()?);
        let used = last.1 - first.1;
        covered_s = (last.0 - first.0) as f64 / 1_000.0;
        joules = (used >= 0.0).then(|| joules.unwrap_or(0.0) + used);
        joules?;
    }
    let texts = load.texts_ok as f64 * covered_s / load.window_s;
    joules.filter(|_| texts > 0.0).map(|joules| joules / texts * 1e6)
}

fn samples(part: &Part<'_>, name: &str) -> Vec<f64> {
    let (series, load) = part;
    series
        .columns
        .get(name)
        .map(|column| timed(series, column, load.window_s).map(|(_, value)| value).collect())
        .unwrap_or_default()
}

/// One vector of samples a GPU.
fn gpus(part: &Part<'_>, measure: &str) -> Vec<Vec<f64>> {
    let (series, load) = part;
    let columns = series.columns.iter().filter(|(name, _)| is_gpu_column(name, measure));
    columns.map(|(_, column)| timed(series, column, load.window_s).map(|(_, value)| value).collect()).collect()
}

pub(crate) fn is_gpu_column(name: &str, measure: &str) -> bool {
    let index = name.strip_prefix("gpu").and_then(|rest| rest.strip_suffix(measure)).and_then(|rest| rest.strip_suffix('_'));
    index.is_some_and(|index| !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit()))
}

fn timed<'a>(series: &'a Series, column: &'a [Option<f64>], window_s: f64) -> impl Iterator<Item = (i64, f64)> + 'a {
    let end = (window_s * 1_000.0) as i64;
    let known = series.t_ms.iter().zip(column).filter_map(|(at, value)| value.map(|value| (*at, value)));
    known.filter(move |(at, value)| (0..=end).contains(at) && value.is_finite())
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, total) = values.fold((0_u64, 0.0), |(count, total), value| (count + 1, total + value));
    (count > 0).then(|| total / count as f64)
}

/// Of all GPUs; absent when one of them is.
fn sum(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Option<Vec<f64>> = values.collect();
    values.filter(|values| !values.is_empty()).map(|values| values.iter().sum())
}
