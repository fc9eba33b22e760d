//! Resources of a cell from its trials' series, inside the measured windows only. A column that no node had stays absent.

use em_api::measurement::{LoadReport, Resource, Series};
use em_api::results::Resources;
use em_stats::interval;

/// One trial's series with what it did meanwhile.
pub(crate) type Part<'a> = (&'a Series, &'a LoadReport);

/// Means over trials of means over time; peaks over all.
pub(crate) fn over(parts: &[Part<'_>]) -> Resources {
    let average = |of: &dyn Fn(&Part<'_>) -> Option<f64>| mean(parts.iter().filter_map(of));
    let peak = |of: &dyn Fn(&Part<'_>) -> Option<f64>| parts.iter().filter_map(of).reduce(f64::max);
    let gpu = parts.iter().any(|(series, _)| series.resource == Resource::Gpu);
    let active = |measure| average(&|part| mean(gpus(part, measure).into_iter().flatten()));
    let energies: Vec<Energy> = parts.iter().filter_map(energy).collect();
    Resources {
        resource: if gpu { Resource::Gpu } else { Resource::Process },
        cpu_cores: average(&|part| mean(samples(part, "cpu_cores").into_iter())),
        memory_peak_bytes: peak(&|part| samples(part, "memory_bytes").into_iter().reduce(f64::max)),
        gpu_utilization: active("utilization_ratio"),
        gpu_memory_peak_bytes: peak(&|part| {
            sum(gpus(part, "memory_used_bytes").into_iter().map(|gpu| gpu.into_iter().reduce(f64::max)))
        }),
        gpu_power_watts: average(&|part| sum(gpus(part, "power_watts").into_iter().map(|gpu| mean(gpu.into_iter())))),
        joules_per_million_texts: mean(energies.iter().map(|one| one.joules_per_million_texts)),
        joules_per_million_texts_error_ratio: error_ratio(&energies),
        gpu_sm_activity: active("sm_activity_ratio"),
        gpu_tensor_activity: active("tensor_activity_ratio"),
        gpu_dram_activity: active("dram_activity_ratio"),
    }
}

/// What one trial's texts took.
struct Energy {
    joules_per_million_texts: f64,
    /// Largest share of it that comes from when the counter was read.
    reading_ratio: f64,
}

/// The counter steps every 100 ms (H100, driver 580.159, looked at with a GPU at rest), so that its two readings may each stand
/// for a moment up to so long before.
const COUNTER_STEP_S: f64 = 0.1;

/// From the energy counters alone: power samples see a quarter of the time on some GPUs.
fn energy((series, load): &Part<'_>) -> Option<Energy> {
    let columns = series.columns.iter().filter(|(name, _)| is_gpu_column(name, "energy_joules"));
    let (mut joules, mut reading_ratio) = (None, 0.0_f64);
    for (_, column) in columns {
        let inside: Vec<(i64, f64)> = timed(series, column, load.window_s).collect();
        let (first, last) = (inside.first()?, inside.last()?);
        let (from, to) = (first.0 as f64 / 1_000.0, last.0 as f64 / 1_000.0);
        let texts = texts_until(load, to) - texts_until(load, from);
        // A counter that fell was reset with the driver.
        let used = (last.1 - first.1) / texts * 1e6;
        if !(used.is_finite() && used >= 0.0) {
            return None;
        }
        joules = Some(joules.unwrap_or(0.0) + used);
        reading_ratio = reading_ratio.max(COUNTER_STEP_S / (to - from));
    }
    Some(Energy { joules_per_million_texts: joules?, reading_ratio })
}

/// Texts answered in the first `end` seconds of the window, as its seconds tell, each taken as even.
fn texts_until(load: &LoadReport, end: f64) -> f64 {
    load.per_second.iter().map(|bin| bin.texts_ok as f64 * (end - f64::from(bin.second)).clamp(0.0, 1.0)).sum()
}

/// Scatter and reading are independent: their squares add up.
fn error_ratio(energies: &[Energy]) -> Option<f64> {
    let reading = energies.iter().map(|one| one.reading_ratio).reduce(f64::max)?;
    let values: Vec<f64> = energies.iter().map(|one| one.joules_per_million_texts).collect();
    let interval = interval::geometric(&values);
    let scatter = interval.and_then(|found| Some(found.high? / found.mean - 1.0)).unwrap_or(0.0);
    Some(scatter.hypot(reading))
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
