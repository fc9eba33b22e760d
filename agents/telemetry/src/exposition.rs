//! The last sample as Prometheus metrics. A value that is absent has no line, never a zero.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use prometheus::{CounterVec, GaugeVec, Opts, Registry};

use crate::{GpuSample, Snapshot};

/// Registered once; updated before each scrape or push.
pub struct Exposition {
    process: Vec<(GaugeVec, Value<Snapshot>)>,
    gpu: Vec<(GaugeVec, Value<GpuSample>)>,
    gpu_energy: CounterVec,
    /// Energy counters as last read, by UUID: a Prometheus counter takes differences.
    energy_seen: Mutex<HashMap<String, f64>>,
}

/// What a gauge shows of a reading.
type Value<T> = fn(&T) -> Option<f64>;

const GPU_LABELS: [&str; 2] = ["gpu", "uuid"];

impl Exposition {
    /// Errors: a metric of one of these names is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str, labels: &[&str]| -> Result<GaugeVec, prometheus::Error> {
            let gauge = GaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let process = |name, help| gauge(name, help, &[]);
        let gpu = |name, help| gauge(name, help, &GPU_LABELS);
        let energy = Opts::new("em_gpu_energy_joules_total", "Energy used since the agent began to sample");
        let gpu_energy = CounterVec::new(energy, &GPU_LABELS)?;
        registry.register(Box::new(gpu_energy.clone()))?;
        Ok(Self {
            process: vec![
                (process("em_process_cpu_cores", "Cores used by the service's process tree")?, |last| last.cpu_cores),
                (process("em_process_memory_bytes", "Proportional set size of the service's process tree")?, |last| {
                    last.memory_bytes.map(|bytes| bytes as f64)
                }),
                (process("em_process_threads", "Threads of the service's process tree")?, |last| last.threads.map(f64::from)),
                (process("em_process_count", "Processes of the service's tree")?, |last| last.processes.map(f64::from)),
            ],
            gpu: vec![
                (gpu("em_gpu_utilization_ratio", "Share of time in which a kernel ran")?, |gpu| gpu.utilization_ratio),
                (gpu("em_gpu_memory_used_bytes", "Memory allocated by processes")?, |gpu| gpu.memory_used_bytes),
                (gpu("em_gpu_memory_reserved_bytes", "Memory that the driver keeps for itself")?, |gpu| gpu.memory_reserved_bytes),
                (gpu("em_gpu_power_watts", "Power drawn")?, |gpu| gpu.power_watts),
                (gpu("em_gpu_sm_clock_hertz", "Clock of the multiprocessors")?, |gpu| gpu.sm_clock_hertz),
                (gpu("em_gpu_memory_clock_hertz", "Clock of the memory")?, |gpu| gpu.memory_clock_hertz),
                (gpu("em_gpu_temperature_celsius", "Temperature")?, |gpu| gpu.temperature_celsius),
                (gpu("em_gpu_throttle_reasons", "NVML's bit mask of reasons for lower clocks")?, |gpu| gpu.throttle_reasons),
                (gpu("em_gpu_processes", "Processes with a compute context")?, |gpu| gpu.processes),
                (gpu("em_gpu_foreign_processes", "Those of them that are not the service's")?, |gpu| gpu.foreign_processes),
                (gpu("em_gpu_pcie_tx_bytes_per_second", "Sent by the GPU over PCIe")?, |gpu| gpu.pcie_tx_bytes_per_s),
                (gpu("em_gpu_pcie_rx_bytes_per_second", "Received by the GPU over PCIe")?, |gpu| gpu.pcie_rx_bytes_per_s),
                (gpu("em_gpu_sm_activity_ratio", "Share of multiprocessors with work on them (GPM)")?, |gpu| gpu.sm_activity_ratio),
                (gpu("em_gpu_tensor_activity_ratio", "Share of time in which tensor cores computed (GPM)")?, |gpu| {
                    gpu.tensor_activity_ratio
                }),
                (gpu("em_gpu_dram_activity_ratio", "Share of the memory's bandwidth in use (GPM)")?, |gpu| gpu.dram_activity_ratio),
            ],
            gpu_energy,
            energy_seen: Mutex::new(HashMap::new()),
        })
    }

    /// Shows `last`, of [`Sampler::latest`](crate::Sampler::latest), and forgets the sample before.
    pub fn observe(&self, last: &Snapshot) {
        self.clear();
        for (gauge, value) in &self.process {
            if let Some(value) = value(last) {
                gauge.with_label_values::<&str>(&[]).set(value);
            }
        }
        for (gauge, value) in &self.gpu {
            for gpu in &last.gpus {
                if let Some(value) = value(gpu) {
                    gauge.with_label_values(&[gpu.index.to_string().as_str(), gpu.uuid.as_str()]).set(value);
                }
            }
        }
        for gpu in &last.gpus {
            self.count_energy(gpu);
        }
    }

    /// No service is up: nothing is shown but what has been counted.
    pub fn clear(&self) {
        for (gauge, _) in &self.process {
            gauge.reset();
        }
        for (gauge, _) in &self.gpu {
            gauge.reset();
        }
    }

    fn count_energy(&self, gpu: &GpuSample) {
        let Some(now) = gpu.energy_joules else { return };
        let before = self.energy_seen.lock().unwrap_or_else(PoisonError::into_inner).insert(gpu.uuid.clone(), now);
        let counter = self.gpu_energy.with_label_values(&[gpu.index.to_string().as_str(), gpu.uuid.as_str()]);
        // It begins anew when the driver is loaded anew.
        counter.inc_by((now - before.unwrap_or(now)).max(0.0));
    }
}
