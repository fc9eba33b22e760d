//! The GPUs of the job, through NVIDIA's management library.
//!
//! A machine without the library, or with it and no driver, has no GPUs: that is no error. Each value that a GPU does not offer is
//! absent. NVML's utilisation says in which share of its own window (1/6 to 1 s) some kernel ran, not how well it used the GPU.

mod activity;
mod readings;
mod sample;

use em_api::measurement::GpuInfo;
use nvml_wrapper::enum_wrappers::device::Clock;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use crate::visible::{Choice, choose};

pub(crate) use readings::Gpu;
pub use sample::GpuSample;

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

/// GPUs that this process may use: all, or those of `CUDA_VISIBLE_DEVICES`.
pub fn visible_gpus() -> Result<Vec<GpuInfo>, GpuError> {
    let Some(nvml) = open()? else { return Ok(Vec::new()) };
    visible_devices(&nvml)?.iter().enumerate().map(|(place, device)| info(device, place)).collect()
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
    let all = devices.iter().enumerate().map(|(place, device)| info(device, place)).collect::<Result<Vec<_>, _>>()?;
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

/// `place`: in the list that the device is of.
fn info(device: &Device<'_>, place: usize) -> Result<GpuInfo, GpuError> {
    let ask = |what| move |source| GpuError::Ask { what, source };
    let whole = whole_of(device);
    let whole = whole.as_ref().unwrap_or(device);
    let hertz = |clock| whole.max_clock_info(clock).ok().map(|megahertz| f64::from(megahertz) * 1e6);
    Ok(GpuInfo {
        // A slice of a GPU has no index of its own; it is told apart by its place among the job's, and by UUID.
        index: device.index().unwrap_or(u32::try_from(place).unwrap_or(u32::MAX)),
        uuid: device.uuid().map_err(ask("a UUID"))?,
        name: device.name().map_err(ask("a name"))?,
        memory_bytes: device.memory_info().map_err(ask("the memory of a GPU"))?.total,
        max_sm_clock_hertz: hertz(Clock::SM),
        max_memory_clock_hertz: hertz(Clock::Memory),
        power_limit_watts: whole.enforced_power_limit().ok().map(|milliwatts| f64::from(milliwatts) / 1e3),
        ecc: whole.is_ecc_enabled().ok().map(|mode| mode.currently_enabled),
        mig: whole.mig_mode().ok().map(|mode| mode.current == 1),
    })
}

/// The GPU that a MIG slice is of; `None`: the device is no slice.
fn whole_of<'nvml>(device: &Device<'nvml>) -> Option<Device<'nvml>> {
    device.mig_is_mig_device_handle().ok().filter(|slice| *slice)?;
    device.mig_parent_device().ok()
}
