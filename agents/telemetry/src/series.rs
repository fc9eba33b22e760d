//! Samples of a window as columns over one time base.

use std::collections::BTreeMap;

use em_api::Timestamp;
use em_api::measurement::{Resource, Series};

use crate::gpu::GpuSample;
use crate::sampler::Sample;

type Column = (&'static str, fn(&GpuSample) -> Option<f64>);

const GPU_COLUMNS: [Column; 17] = [
    ("utilization_ratio", |gpu| gpu.utilization_ratio),
    ("memory_utilization_ratio", |gpu| gpu.memory_utilization_ratio),
    ("memory_used_bytes", |gpu| gpu.memory_used_bytes),
    ("memory_reserved_bytes", |gpu| gpu.memory_reserved_bytes),
    ("power_watts", |gpu| gpu.power_watts),
    ("sm_clock_hertz", |gpu| gpu.sm_clock_hertz),
    ("memory_clock_hertz", |gpu| gpu.memory_clock_hertz),
    ("temperature_celsius", |gpu| gpu.temperature_celsius),
    ("throttle_reasons", |gpu| gpu.throttle_reasons),
    ("energy_joules", |gpu| gpu.energy_joules),
    ("pcie_tx_bytes_per_s", |gpu| gpu.pcie_tx_bytes_per_s),
    ("pcie_rx_bytes_per_s", |gpu| gpu.pcie_rx_bytes_per_s),
    ("sm_activity_ratio", |gpu| gpu.sm_activity_ratio),
    ("tensor_activity_ratio", |gpu| gpu.tensor_activity_ratio),
    ("dram_activity_ratio", |gpu| gpu.dram_activity_ratio),
    ("processes", |gpu| gpu.processes),
    ("foreign_processes", |gpu| gpu.foreign_processes),
];

/// `origin`: wall time of a sample's `at` = 0. A column without a single value is left out.
pub(crate) fn cut<'a>(samples: impl Iterator<Item = &'a Sample>, origin: Timestamp, from: Timestamp, to: Timestamp) -> Series {
    // Relative to the window, by the monotonic clock that the samples were taken with.
    let shift_ns = from.as_nanosecond() - origin.as_nanosecond();
    let length_ns = to.as_nanosecond() - from.as_nanosecond();
    let mut t_ms = Vec::new();
    let mut inside = Vec::new();
    for sample in samples {
        let at = sample.at.as_nanos() as i128 - shift_ns;
        if (0..length_ns).contains(&at) {
            t_ms.push((at / 1_000_000) as i64);
            inside.push(sample);
        }
    }
    let mut columns = BTreeMap::new();
    let mut add = |name: String, values: Vec<Option<f64>>| {
        if values.iter().any(Option::is_some) {
            columns.insert(name, values);
        }
    };
    let tree = |value: fn(&crate::process::TreeSample) -> Option<f64>| {
        inside.iter().map(|sample| sample.tree.as_ref().and_then(value)).collect::<Vec<_>>()
    };
    add("cpu_cores".to_owned(), tree(|tree| tree.cpu_cores));
    add("memory_bytes".to_owned(), tree(|tree| Some(tree.memory_bytes as f64)));
    add("threads".to_owned(), tree(|tree| Some(f64::from(tree.threads))));
    add("processes".to_owned(), tree(|tree| Some(f64::from(tree.processes))));
    let gpus = inside.first().map_or(0, |sample| sample.gpus.len());
    for at in 0..gpus {
        let index = inside[0].gpus[at].index;
        for (name, value) in GPU_COLUMNS {
            add(format!("gpu{index}_{name}"), inside.iter().map(|sample| sample.gpus.get(at).and_then(value)).collect());
        }
    }
    let resource = if gpus > 0 { Resource::Gpu } else { Resource::Process };
    Series { resource, origin: from, t_ms, columns, sampler_cpu_ratio: sampler_cpu_ratio(&inside) }
}

/// Cores that the sampling itself used between the first and the last sample.
fn sampler_cpu_ratio(inside: &[&Sample]) -> Option<f64> {
    let (first, last) = (inside.first()?, inside.last()?);
    let lasted = last.at.saturating_sub(first.at).as_secs_f64();
    (lasted > 0.0).then(|| last.cpu.saturating_sub(first.cpu).as_secs_f64() / lasted)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::SignedDuration;

    use super::*;
    use crate::process::TreeSample;

    fn sample(at_ms: u64, power_watts: Option<f64>) -> Sample {
        let tree = TreeSample { cpu_cores: (at_ms > 0).then_some(1.5), memory_bytes: 7, threads: 2, processes: 1 };
        let gpu = GpuSample { index: 3, utilization_ratio: Some(0.5), power_watts, ..GpuSample::default() };
        Sample {
            at: Duration::from_millis(at_ms),
            rare: false,
            tree: (at_ms < 300).then_some(tree),
            gpus: vec![gpu],
            cpu: Duration::from_micros(at_ms * 4),
        }
    }

    #[test]
    fn a_window_holds_its_own_samples_and_never_invents_a_zero() {
        let origin = Timestamp::UNIX_EPOCH;
        let at = |ms| origin + SignedDuration::from_millis(ms);
        let samples = [sample(0, None), sample(100, Some(70.0)), sample(200, None), sample(300, Some(90.0)), sample(400, None)];
        let series = cut(samples.iter(), origin, at(50), at(400));
        assert_eq!((series.resource, series.origin), (Resource::Gpu, at(50)));
        assert_eq!(series.t_ms, [50, 150, 250]);
        assert_eq!(series.columns["gpu3_power_watts"], [Some(70.0), None, Some(90.0)]);
        assert_eq!(series.columns["cpu_cores"], [Some(1.5), Some(1.5), None], "the root ended before the third sample");
        assert!((series.sampler_cpu_ratio.expect("two samples") - 0.004).abs() < 1e-9, "4 µs a millisecond");
        assert!(!series.columns.contains_key("gpu3_temperature_celsius"), "what the GPU does not offer is absent");
        let empty = cut(samples.iter(), origin, at(900), at(1_000));
        assert!(empty.t_ms.is_empty() && empty.columns.is_empty());
    }
}
