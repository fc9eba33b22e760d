//! What the multiprocessors do, from the counters of GPM (GPU performance monitoring; Hopper and newer), because NVML's
//! utilisation misleads: one kernel on one multiprocessor reads as 100 %.

use nvml_wrapper::enums::gpm::GpmMetricId;
use nvml_wrapper::gpm::{GpmSample as Counters, gpm_metrics_get};
use nvml_wrapper::{Device, Nvml};

use super::sample::GpuSample;

const METRICS: [GpmMetricId; 5] = [
    GpmMetricId::SmUtil,
    GpmMetricId::AnyTensorUtil,
    GpmMetricId::DramBwUtil,
    GpmMetricId::PcieTxPerSec,
    GpmMetricId::PcieRxPerSec,
];
/// GPM counts PCIe traffic in MiB/s (nvml.h), the rest in percent.
const MEBI: f64 = 1_048_576.0;

/// The counters as last read: a metric is a difference. NVML wants more than 100 ms between two readings.
#[derive(Default)]
pub(crate) struct Activity<'nvml> {
    before: Option<Counters<'nvml>>,
    /// Not on a slice of a GPU, nor where the driver says no.
    supported: bool,
}

impl<'nvml> Activity<'nvml> {
    pub(crate) fn of(device: &Device<'nvml>, slice: bool) -> Self {
        Self { before: None, supported: !slice && device.gpm_support().unwrap_or(false) }
    }

    /// Means since the reading before, into `sample`; nothing at the first reading, or where a metric is not to be had.
    pub(crate) fn read(&mut self, nvml: &'nvml Nvml, device: &Device<'nvml>, sample: &mut GpuSample) {
        if !self.supported {
            return;
        }
        let Ok(now) = device.gpm_sample() else { return };
        if let Some(before) = &self.before
            && let Ok(found) = gpm_metrics_get(nvml, before, &now, &METRICS)
        {
            let value = |metric| {
                let found = found.iter().flatten().find(|one| one.metric_id == metric).map(|one| one.value);
                found.filter(|value| value.is_finite())
            };
            let ratio = |metric| value(metric).map(|percent| percent / 100.0);
            sample.sm_activity_ratio = ratio(GpmMetricId::SmUtil);
            sample.tensor_activity_ratio = ratio(GpmMetricId::AnyTensorUtil);
            sample.dram_activity_ratio = ratio(GpmMetricId::DramBwUtil);
            sample.pcie_tx_bytes_per_s = value(GpmMetricId::PcieTxPerSec).map(|rate| rate * MEBI);
            sample.pcie_rx_bytes_per_s = value(GpmMetricId::PcieRxPerSec).map(|rate| rate * MEBI);
        }
        self.before = Some(now);
    }
}
