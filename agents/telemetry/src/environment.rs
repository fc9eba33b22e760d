//! The machine that a trial ran on.

use std::collections::BTreeMap;
use std::fs::read_to_string;

use em_api::measurement::Environment;
use rustix::thread::{CpuSet, sched_getaffinity};

use crate::gpu;

/// Read anew at each call. What cannot be read is empty or absent; why GPUs could not be asked is in `extra.gpu_error`.
pub fn environment() -> Environment {
    let system = rustix::system::uname();
    let mut extra = BTreeMap::new();
    let mut note = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            extra.insert(key.to_owned(), value);
        }
    };
    let gpus = gpu::visible_gpus().unwrap_or_else(|error| {
        note("gpu_error", Some(error.to_string()));
        Vec::new()
    });
    let (driver, cuda) = gpu::versions().unzip();
    note("cuda_driver", cuda);
    note("cuda_visible_devices", std::env::var("CUDA_VISIBLE_DEVICES").ok());
    note("os", field("/etc/os-release", "PRETTY_NAME=").map(|name| name.trim_matches('"').to_owned()));
    note("architecture", Some(system.machine().to_string_lossy().into_owned()));
    note("cpu_governor", trimmed("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"));
    note("numa_nodes", trimmed("/sys/devices/system/node/online"));
    Environment {
        node: system.nodename().to_string_lossy().into_owned(),
        cpu_model: cpu_model().unwrap_or_else(|| system.machine().to_string_lossy().into_owned()),
        cores_allowed: cores_allowed(),
        kernel: system.release().to_string_lossy().into_owned(),
        memory_bytes: memory_bytes().unwrap_or(0),
        gpus,
        driver,
        slurm_job_id: std::env::var("SLURM_JOB_ID").ok(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        agent_revision: None,
        model_sha256: None,
        extra,
    }
}

/// `model name` on x86; other architectures have none.
fn cpu_model() -> Option<String> {
    let line = field("/proc/cpuinfo", "model name")?;
    Some(line.trim_start_matches([' ', '\t', ':']).to_owned())
}

/// Of the process: what Slurm granted where it binds jobs to cores.
fn cores_allowed() -> u32 {
    match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).count() as u32,
        Err(_) => std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)),
    }
}

fn memory_bytes() -> Option<u64> {
    let line = field("/proc/meminfo", "MemTotal:")?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1_024)
}

/// The rest of the first line that begins with `name`.
fn field(path: &str, name: &str) -> Option<String> {
    let text = read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
}

fn trimmed(path: &str) -> Option<String> {
    let text = read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
