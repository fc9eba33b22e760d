//! One reading of one GPU.

/// Energy counts from when the driver was loaded. What the GPU does not offer, and what was not due, is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GpuSample {
    /// As in [`GpuInfo`](em_api::measurement::GpuInfo).
    pub index: u32,
    pub uuid: String,
    /// 0..1
    pub utilization_ratio: Option<f64>,
    pub memory_utilization_ratio: Option<f64>,
    /// Allocated by processes, without what the driver keeps for itself.
    pub memory_used_bytes: Option<f64>,
    pub memory_reserved_bytes: Option<f64>,
    pub power_watts: Option<f64>,
    pub sm_clock_hertz: Option<f64>,
    pub memory_clock_hertz: Option<f64>,
    pub temperature_celsius: Option<f64>,
    /// NVML's bit mask; 1 is "idle".
    pub throttle_reasons: Option<f64>,
    /// This and all that follows: read once a second.
    pub energy_joules: Option<f64>,
    /// Sent by the GPU. Mean over the second before (GPM), else over 20 ms.
    pub pcie_tx_bytes_per_s: Option<f64>,
    pub pcie_rx_bytes_per_s: Option<f64>,
    /// 0..1, mean over the second before: multiprocessors with work on them. Hopper and newer, as the next two.
    pub sm_activity_ratio: Option<f64>,
    /// Time in which tensor cores computed.
    pub tensor_activity_ratio: Option<f64>,
    /// Of the memory's bandwidth.
    pub dram_activity_ratio: Option<f64>,
    /// With a compute context.
    pub processes: Option<f64>,
    /// Those of them that are not of the service's tree.
    pub foreign_processes: Option<f64>,
}

impl GpuSample {
    /// Fills what is absent from a reading before.
    pub(crate) fn or(self, earlier: &Self) -> Self {
        Self {
            index: self.index,
            uuid: self.uuid,
            utilization_ratio: self.utilization_ratio.or(earlier.utilization_ratio),
            memory_utilization_ratio: self.memory_utilization_ratio.or(earlier.memory_utilization_ratio),
            memory_used_bytes: self.memory_used_bytes.or(earlier.memory_used_bytes),
            memory_reserved_bytes: self.memory_reserved_bytes.or(earlier.memory_reserved_bytes),
            power_watts: self.power_watts.or(earlier.power_watts),
            sm_clock_hertz: self.sm_clock_hertz.or(earlier.sm_clock_hertz),
            memory_clock_hertz: self.memory_clock_hertz.or(earlier.memory_clock_hertz),
            temperature_celsius: self.temperature_celsius.or(earlier.temperature_celsius),
            throttle_reasons: self.throttle_reasons.or(earlier.throttle_reasons),
            energy_joules: self.energy_joules.or(earlier.energy_joules),
            pcie_tx_bytes_per_s: self.pcie_tx_bytes_per_s.or(earlier.pcie_tx_bytes_per_s),
            pcie_rx_bytes_per_s: self.pcie_rx_bytes_per_s.or(earlier.pcie_rx_bytes_per_s),
            sm_activity_ratio: self.sm_activity_ratio.or(earlier.sm_activity_ratio),
            tensor_activity_ratio: self.tensor_activity_ratio.or(earlier.tensor_activity_ratio),
            dram_activity_ratio: self.dram_activity_ratio.or(earlier.dram_activity_ratio),
            processes: self.processes.or(earlier.processes),
            foreign_processes: self.foreign_processes.or(earlier.foreign_processes),
        }
    }
}
