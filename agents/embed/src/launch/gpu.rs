//! Whether a service uses a GPU, as asked. What a server says of itself proves little; the driver's list of processes and the
//! device files that a process holds open do.

use std::path::Path;

use nvml_wrapper::Nvml;

/// CUDA opens it, NVML does not: who only looks at GPUs does not hold it.
const CUDA_DEVICE: &str = "/dev/nvidia-uvm";

/// Errors: one sentence. `pids`: the service's living processes.
pub(super) fn check(name: &str, asked: bool, pids: &[u32]) -> Result<(), String> {
    judge(name, asked, listed(pids), pids.iter().any(|pid| holds_cuda(Path::new("/proc"), *pid)))
}

/// `listed`: whether the driver's list names one of ours; it is empty in a container of its own, so only a yes is a proof.
fn judge(name: &str, asked: bool, listed: Option<bool>, holds: bool) -> Result<(), String> {
    match (asked, listed == Some(true), holds) {
        (true, false, false) => Err(format!(
            "device: cuda was asked of {name}, but none of its processes uses a GPU; look into its log, or set device: cpu"
        )),
        (false, true, _) => Err(format!("device: cpu was asked of {name}, but it computes on a GPU; set device: cuda")),
        _ => Ok(()),
    }
}

/// Largest CUDA version that the driver runs, its major number. `None`: no driver here.
pub fn cuda_major() -> Option<i32> {
    let version = Nvml::init().ok()?.sys_cuda_driver_version().ok()?;
    Some(nvml_wrapper::cuda_driver_version_major(version))
}

/// `None`: the driver cannot be asked.
fn listed(pids: &[u32]) -> Option<bool> {
    let nvml = Nvml::init().ok()?;
    let devices = (0..nvml.device_count().ok()?).filter_map(|index| nvml.device_by_index(index).ok());
    let running = devices.filter_map(|device| device.running_compute_processes().ok()).flatten();
    Some(running.map(|process| process.pid).any(|pid| pids.contains(&pid)))
}

fn holds_cuda(proc: &Path, pid: u32) -> bool {
    let Ok(files) = std::fs::read_dir(proc.join(pid.to_string()).join("fd")) else { return false };
    files.flatten().any(|file| std::fs::read_link(file.path()).is_ok_and(|target| target == Path::new(CUDA_DEVICE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_what_was_asked_for_or_the_start_fails() {
        for (asked, listed, holds, fine) in [
            (true, Some(true), false, true),
            (true, Some(false), true, true),
            (true, Some(false), false, false),
            (true, None, false, false),
            (false, None, false, true),
            (false, Some(false), true, true),
            (false, Some(true), true, false),
        ] {
            assert_eq!(judge("hf", asked, listed, holds).is_ok(), fine, "{asked} {listed:?} {holds}");
        }
    }

    #[test]
    fn cuda_is_known_by_the_device_file_that_it_holds() {
        let proc = tempfile::tempdir().expect("folder");
        for (pid, target) in [(7, "/dev/nvidia-uvm"), (8, "/dev/nvidiactl")] {
            let fd = proc.path().join(pid.to_string()).join("fd");
            std::fs::create_dir_all(&fd).expect("folder");
            std::os::unix::fs::symlink(target, fd.join("3")).expect("link");
        }
        assert!(holds_cuda(proc.path(), 7) && !holds_cuda(proc.path(), 8) && !holds_cuda(proc.path(), 9));
    }
}
