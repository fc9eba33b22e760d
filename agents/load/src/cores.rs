//! Which cores the generator runs on, and how much CPU it used.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use crate::LoadError;

/// Pins every thread of this process; threads made later inherit it.
pub(crate) fn pin(cores: &[u32]) -> Result<(), LoadError> {
    let fail = |source: std::io::Error| LoadError::Pin { cores: cores.to_vec(), source };
    let mut set = CpuSet::new();
    for &core in cores {
        if core as usize >= CpuSet::MAX_CPU {
            return Err(fail(std::io::ErrorKind::InvalidInput.into()));
        }
        set.set(core as usize);
    }
    for entry in std::fs::read_dir("/proc/self/task").map_err(fail)? {
        let name = entry.map_err(fail)?.file_name();
        let Some(thread) = name.to_str().and_then(|id| id.parse().ok()).and_then(rustix::thread::Pid::from_raw) else { continue };
        match sched_setaffinity(Some(thread), &set) {
            // A thread may end between the listing and the call.
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(errno) => return Err(fail(errno.into())),
        }
    }
    Ok(())
}

/// Cores that this process may run on.
pub(crate) fn allowed() -> Vec<u32> {
    match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).filter_map(|core| u32::try_from(core).ok()).collect(),
        Err(_) => Vec::new(),
    }
}

/// CPU seconds (user and system) of all threads of this process.
pub(crate) fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
