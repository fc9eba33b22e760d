//! The one machine: what it has, and who it is in this boot.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity};

use super::gpus::LocalGpus;

#[derive(Clone, Debug)]
pub(super) struct Machine {
    /// Without its domain.
    pub(super) host: String,
    /// CPUs that our process may run on.
    pub(super) cpus: Vec<usize>,
    pub(super) memory_mb: u64,
    pub(super) gpus: LocalGpus,
    /// Of the kernel, new at each boot.
    pub(super) boot_id: String,
    /// The account that we run as.
    pub(super) user: String,
}

impl Machine {
    pub(super) fn look(gpus: LocalGpus) -> io::Result<Self> {
        let affinity = sched_getaffinity(None)?;
        let meminfo = std::fs::read_to_string("/proc/meminfo")?;
        let memory_kb =
            meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Ok(Self {
            host: host.split('.').next().unwrap_or(&host).to_owned(),
            cpus: (0..CpuSet::MAX_CPU).filter(|cpu| affinity.is_set(*cpu)).collect(),
            memory_mb: memory_kb.ok_or_else(|| io::Error::other("/proc/meminfo has no MemTotal"))? / 1024,
            gpus,
            boot_id: std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned(),
            user: user_name(),
        })
    }

    /// Whether a host name of the user's means this machine.
    pub(super) fn is_called(&self, name: &str) -> bool {
        let short = name.split('.').next().unwrap_or(name);
        name == "localhost" || short.eq_ignore_ascii_case(&self.host)
    }
}

fn user_name() -> String {
    let uid = rustix::process::getuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entry = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields.get(2) == Some(&uid.as_str()));
    // Accounts of a directory service are not in the file.
    entry.map_or_else(|| std::env::var("USER").unwrap_or(uid.clone()), |fields| fields[0].to_owned())
}
