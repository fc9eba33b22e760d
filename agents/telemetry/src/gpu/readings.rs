//! What is read of a GPU with every sample, and what once a second.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nvml_wrapper::enum_wrappers::device::{Clock, PcieUtilCounter, TemperatureSensor};
use nvml_wrapper::{Device, Nvml};

use super::activity::Activity;
use super::sample::GpuSample;
use super::{GpuError, info, whole_of};

/// A call of NVML that is made with every sample.
struct Call {
    /// Of the whole GPU where the job has a slice: a slice has no clock, no heat and no power supply of its own.
    of_whole: bool,
    read: fn(&Device<'_>, &mut GpuSample),
}

const FREQUENT: [Call; 7] = [
    Call {
        of_whole: false,
        read: |device, sample| {
            let rates = device.utilization_rates().ok();
            sample.utilization_ratio = rates.as_ref().map(|rates| f64::from(rates.gpu) / 100.0);
            sample.memory_utilization_ratio = rates.as_ref().map(|rates| f64::from(rates.memory) / 100.0);
        },
    },
    Call {
        of_whole: false,
        read: |device, sample| {
            let memory = device.memory_info().ok();
            sample.memory_used_bytes = memory.as_ref().map(|memory| memory.used as f64);
            sample.memory_reserved_bytes = memory.as_ref().map(|memory| memory.reserved as f64);
        },
    },
    Call {
        of_whole: false,
        read: |device, sample| sample.power_watts = device.power_usage().ok().map(|milliwatts| f64::from(milliwatts) / 1e3),
    },
    Call { of_whole: true, read: |device, sample| sample.sm_clock_hertz = hertz(device, Clock::SM) },
    Call { of_whole: true, read: |device, sample| sample.memory_clock_hertz = hertz(device, Clock::Memory) },
    Call {
        of_whole: true,
        read: |device, sample| sample.temperature_celsius = device.temperature(TemperatureSensor::Gpu).ok().map(f64::from),
    },
    Call {
        of_whole: true,
        read: |device, sample| {
            sample.throttle_reasons = device.current_throttle_reasons().ok().map(|reasons| reasons.bits() as f64);
        },
    },
];

/// A frequent call that took this long so many times in a row is read once a second from then on: no driver is as fast in
/// everything as another, and the others must keep their pace.
const SLOW: Duration = Duration::from_millis(10);
const TIMES: u32 = 3;

/// One GPU of the job. Both threads of the sampler read it.
pub(crate) struct Gpu<'nvml> {
    nvml: &'nvml Nvml,
    device: Device<'nvml>,
    whole: Option<Device<'nvml>>,
    index: u32,
    uuid: String,
    /// How many times in a row each of [`FREQUENT`] was slow.
    slow: [AtomicU32; FREQUENT.len()],
}

impl<'nvml> Gpu<'nvml> {
    /// `place`: among the job's GPUs.
    pub(crate) fn new(nvml: &'nvml Nvml, device: Device<'nvml>, place: usize) -> Result<Self, GpuError> {
        let facts = info(&device, place)?;
        let whole = whole_of(&device);
        Ok(Self { nvml, device, whole, index: facts.index, uuid: facts.uuid, slow: Default::default() })
    }

    pub(crate) fn activity(&self) -> Activity<'nvml> {
        Activity::of(&self.device, self.whole.is_some())
    }

    /// What is cheap.
    pub(crate) fn frequent(&self) -> GpuSample {
        let mut sample = self.empty();
        for (call, slow) in FREQUENT.iter().zip(&self.slow) {
            let times = slow.load(Ordering::Relaxed);
            if times < TIMES {
                let begin = Instant::now();
                self.read(call, &mut sample);
                slow.store(if begin.elapsed() < SLOW { 0 } else { times + 1 }, Ordering::Relaxed);
            }
        }
        sample
    }

    /// What is dear. The energy counter comes first: its time counts. `ours`: whether a process is of the service; absent where
    /// there is none.
    pub(crate) fn rare(&self, activity: &mut Activity<'nvml>, ours: Option<&dyn Fn(u32) -> bool>) -> GpuSample {
        let mut sample = self.empty();
        let device = &self.device;
        sample.energy_joules = device.total_energy_consumption().ok().map(|millijoules| millijoules as f64 / 1e3);
        activity.read(self.nvml, device, &mut sample);
        for (call, slow) in FREQUENT.iter().zip(&self.slow) {
            if slow.load(Ordering::Relaxed) >= TIMES {
                self.read(call, &mut sample);
            }
        }
        let pids: Option<Vec<u32>> =
            device.running_compute_processes().ok().map(|list| list.iter().map(|process| process.pid).collect());
        sample.processes = pids.as_ref().map(|pids| pids.len() as f64);
        sample.foreign_processes = ours.zip(pids).map(|(ours, pids)| pids.iter().filter(|pid| !ours(**pid)).count() as f64);
        if sample.pcie_tx_bytes_per_s.is_none() {
            // NVML says KB/s, and each of the two takes the 20 ms that it counts over.
            let rate = |counter| device.pcie_throughput(counter).ok().map(|kilobytes| f64::from(kilobytes) * 1e3);
            sample.pcie_tx_bytes_per_s = rate(PcieUtilCounter::Send);
            sample.pcie_rx_bytes_per_s = rate(PcieUtilCounter::Receive);
        }
        sample
    }

    fn read(&self, call: &Call, sample: &mut GpuSample) {
        let device = self.whole.as_ref().filter(|_| call.of_whole).unwrap_or(&self.device);
        (call.read)(device, sample);
    }

    fn empty(&self) -> GpuSample {
        GpuSample { index: self.index, uuid: self.uuid.clone(), ..GpuSample::default() }
    }
}

fn hertz(device: &Device<'_>, clock: Clock) -> Option<f64> {
    device.clock_info(clock).ok().map(|megahertz| f64::from(megahertz) * 1e6)
}
