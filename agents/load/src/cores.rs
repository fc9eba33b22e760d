//! Which cores the generator runs on, how much CPU it used, and how long it waited for some.

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

/// Seconds that the threads of this process, those that are still there, were ready to run and waited for a core. `None` where the
/// kernel keeps no such account.
pub(crate) fn waiting_seconds() -> Option<f64> {
    let mut nanoseconds = 0_u64;
    for entry in std::fs::read_dir("/proc/self/task").ok()? {
        // A thread may end between the listing and the reading.
        let Ok(text) = std::fs::read_to_string(entry.ok()?.path().join("schedstat")) else { continue };
        nanoseconds += text.split_whitespace().nth(1)?.parse::<u64>().ok()?;
    }
    Some(nanoseconds as f64 / 1e9)
}
