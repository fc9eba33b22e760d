//! The GPUs of the job, through NVIDIA's management library.
//!
//! A machine without the library, or with it and no driver, has no GPUs: that is no error. Each value that a GPU does not offer is
//! absent. NVML's utilisation says in which share of its own window (1/6 to 1 s) some kernel ran, not how well it used the GPU.

use em_api::measurement::GpuInfo;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use crate::visible::{Choice, choose};

/// The library's name in a driver's packages; the one without a number belongs to the development files.
const LIBRARY: &str = "libnvidia-ml.so.1";

#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    #[error("opening NVML; `nvidia-smi` shows whether the driver works")]
    Open(#[source] NvmlError),
    #[error("asking NVML for {what}")]
    Ask {
        what: &'static str,
        #[source]
        source: NvmlError,
    },
}

/// One reading of one GPU. Energy counts from when the driver was loaded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GpuSample {
    /// NVML's index, as in [`GpuInfo`].
    pub index: u32,
    pub uuid: String,
    /// 0..1
    pub utilization_ratio: Option<f64>,
    pub memory_utilization_ratio: Option<f64>,
    /// Allocated by processes, without what the driver keeps for itself.
    pub memory_used_bytes: Option<f64>,
    pub memory_reserved_bytes: Option<f64>,
    pub power_watts: Option<f64>,
    /// Read once a second, and absent in between: the counter takes 5 ms of CPU to read (H100, driver 580), all the rest 1.3 ms.
    pub energy_joules: Option<f64>,
    pub sm_clock_hertz: Option<f64>,
    pub memory_clock_hertz: Option<f64>,
    pub temperature_celsius: Option<f64>,
    /// NVML's bit mask; 1 is "idle".
    pub throttle_reasons: Option<f64>,
    /// With a compute context; read once a second.
    pub processes: Option<f64>,
    /// Those of them that are not of the service's tree.
    pub foreign_processes: Option<f64>,
}

/// GPUs that this process may use: all, or those of `CUDA_VISIBLE_DEVICES`.
pub fn visible_gpus() -> Result<Vec<GpuInfo>, GpuError> {
    let Some(nvml) = open()? else { return Ok(Vec::new()) };
    visible_devices(&nvml)?.iter().map(info).collect()
}

/// Version of the driver, and of the CUDA that it supports.
pub(crate) fn versions() -> Option<(String, String)> {
    let nvml = open().ok()??;
    let cuda = nvml.sys_cuda_driver_version().ok()?;
    Some((nvml.sys_driver_version().ok()?, format!("{}.{}", cuda / 1_000, cuda % 1_000 / 10)))
}

/// `None`: this machine has no NVML or no driver.
pub(crate) fn open() -> Result<Option<Nvml>, GpuError> {
    match Nvml::builder().lib_path(LIBRARY.as_ref()).init() {
        Ok(nvml) => Ok(Some(nvml)),
        Err(NvmlError::LibloadingError(error)) => {
            tracing::debug!("no NVML here: {error}");
            Ok(None)
        }
        Err(error @ (NvmlError::DriverNotLoaded | NvmlError::LibraryNotFound)) => {
            tracing::warn!("NVML is here, but: {error}");
            Ok(None)
        }
        Err(error) => Err(GpuError::Open(error)),
    }
}

pub(crate) fn visible_devices(nvml: &Nvml) -> Result<Vec<Device<'_>>, GpuError> {
    let ask = |what| move |source| GpuError::Ask { what, source };
    let mut devices = Vec::new();
    for index in 0..nvml.device_count().map_err(ask("the number of GPUs"))? {
        devices.push(nvml.device_by_index(index).map_err(ask("a GPU"))?);
    }
    let all = devices.iter().map(info).collect::<Result<Vec<_>, _>>()?;
    let variable = std::env::var("CUDA_VISIBLE_DEVICES").ok();
    let by_uuid = |uuid: &str| nvml.device_by_uuid(uuid).map_err(ask("the GPU of a UUID in CUDA_VISIBLE_DEVICES"));
    choose(variable.as_deref(), &all)
        .iter()
        .map(|choice| match choice {
            Choice::Gpu(at) => by_uuid(&all[*at].uuid),
            Choice::Mig(uuid) => by_uuid(uuid),
        })
        .collect()
}

fn info(device: &Device<'_>) -> Result<GpuInfo, GpuError> {
    let ask = |what| move |source| GpuError::Ask { what, source };
    Ok(GpuInfo {
        // A slice of a GPU has no index of its own; it is told apart by UUID.
        index: device.index().unwrap_or(0),
        uuid: device.uuid().map_err(ask("a UUID"))?,
        name: device.name().map_err(ask("a name"))?,
        memory_bytes: device.memory_info().map_err(ask("the memory of a GPU"))?.total,
    })
}

/// What of a sample is read once and what rarely.
pub(crate) struct Gpu<'nvml> {
    device: Device<'nvml>,
    index: u32,
    uuid: String,
    processes: Option<Vec<u32>>,
}

impl<'nvml> Gpu<'nvml> {
    pub(crate) fn new(device: Device<'nvml>) -> Result<Self, GpuError> {
        let GpuInfo { index, uuid, .. } = info(&device)?;
        Ok(Self { device, index, uuid, processes: None })
    }

    /// `rare`: whether what is read once a second is due. `ours`: whether a pid is of the service's tree; absent where there is
    /// none.
    pub(crate) fn sample(&mut self, rare: bool, ours: Option<&dyn Fn(u32) -> bool>) -> GpuSample {
        let device = &self.device;
        if rare {
            self.processes = device.running_compute_processes().ok().map(|list| list.iter().map(|process| process.pid).collect());
        }
        let utilization = device.utilization_rates().ok();
        let memory = device.memory_info().ok();
        let hertz = |clock| device.clock_info(clock).ok().map(|megahertz| f64::from(megahertz) * 1e6);
        let listed = self.processes.as_deref();
        GpuSample {
            index: self.index,
            uuid: self.uuid.clone(),
            utilization_ratio: utilization.as_ref().map(|rates| f64::from(rates.gpu) / 100.0),
            memory_utilization_ratio: utilization.as_ref().map(|rates| f64::from(rates.memory) / 100.0),
            memory_used_bytes: memory.as_ref().map(|memory| memory.used as f64),
            memory_reserved_bytes: memory.as_ref().map(|memory| memory.reserved as f64),
            power_watts: device.power_usage().ok().map(|milliwatts| f64::from(milliwatts) / 1e3),
            energy_joules: rare
                .then(|| device.total_energy_consumption().ok())
                .flatten()
                .map(|millijoules| millijoules as f64 / 1e3),
            sm_clock_hertz: hertz(Clock::SM),
            memory_clock_hertz: hertz(Clock::Memory),
            temperature_celsius: device.temperature(TemperatureSensor::Gpu).ok().map(f64::from),
            throttle_reasons: device.current_throttle_reasons().ok().map(|reasons| reasons.bits() as f64),
            processes: listed.map(|pids| pids.len() as f64),
            foreign_processes: ours.and_then(|ours| listed.map(|pids| pids.iter().filter(|pid| !ours(**pid)).count() as f64)),
        }
    }
}
