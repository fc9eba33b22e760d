//! Starts the process that looks after a job for as long as the job lives (`supervise.sh`), and ends what it left when it was killed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open, pidfd_send_signal, set_child_subreaper, setsid};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::LocalSettings;
use super::files::{try_lock, write};
use super::machine::Machine;
use super::record::{LOCK, Record, Start};
use crate::environment::inherited;

const SUPERVISE: &str = include_str!("supervise.sh");
/// In the environment of every process of a job; the value is the record's path.
const MARK: &str = "EM_SLURM_LOCAL_JOB";

/// The child is the supervisor, to be reaped by the caller. The record's lock is taken here and goes to it.
pub(super) fn spawn(record: &Record, start: &Start, machine: &Machine, settings: &LocalSettings) -> io::Result<Child> {
    let dir = &record.dir;
    write(dir, "supervise.sh", SUPERVISE.as_bytes())?;
    let lock = try_lock(&dir.join(LOCK))?.ok_or_else(|| io::Error::other("the job is supervised already"))?;
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(dir.join("supervisor.log"))?;
    let limit = record.job.request.minutes.map_or(Duration::ZERO, |minutes| settings.minute * minutes);
    let mut command = Command::new("bash");
    command.args(["--norc", "--noprofile"]).arg(dir.join("supervise.sh")).arg(dir);
    command.arg(record.job.id.to_string()).arg(&record.job.job_dir);
    command.args([warning(limit, settings), limit, settings.kill_wait].map(hundredths));
    command.stdin(Stdio::from(lock)).stdout(Stdio::from(log.try_clone()?)).stderr(Stdio::from(log)).current_dir("/");
    command.env_clear().envs(environment(record, start, machine, settings));
    let mut cpus = CpuSet::new();
    start.has.cpus.iter().for_each(|cpu| cpus.set(*cpu));
    let bound = !start.has.cpus.is_empty();
    let prepare = move || {
        setsid()?;
        set_child_subreaper(Some(getpid()))?;
        if bound {
            sched_setaffinity(None, &cpus)?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec `prepare` makes four system calls (rustix, without libc) and neither allocates nor locks.
    unsafe { command.pre_exec(prepare) };
    command.spawn()
}

/// When TERM goes to the script, after its start. Slurm looks at warnings every 30 s, so a limit shorter than the lead leaves up to
/// half a minute (22.05: 27 s of 1 and of 2 minutes, 87 s of 3); here it is half a minute exactly.
fn warning(limit: Duration, settings: &LocalSettings) -> Duration {
    limit.saturating_sub(settings.signal_lead).max(settings.minute / 2)
}

fn hundredths(time: Duration) -> String {
    time.as_millis().div_ceil(10).to_string()
}

/// What of Slurm's environment (sbatch(1), output environment variables) is true here as well. Neither `SLURMD_NODENAME`, since there is
/// no slurmd to ask, nor `SLURM_MEM_PER_NODE`, since memory is counted but not limited.
fn environment(record: &Record, start: &Start, machine: &Machine, settings: &LocalSettings) -> BTreeMap<String, OsString> {
    let mut all: BTreeMap<String, OsString> = inherited(&settings.pass_env)
        .map(|(name, value)| (name.to_owned(), value))
        .filter(|(name, _)| name != "SLURM_CONF")
        .collect();
    all.entry("PATH".to_owned()).or_insert_with(|| "/usr/local/bin:/usr/bin:/bin".into());
    let mut set = |name: &str, value: String| {
        all.insert(name.to_owned(), value.into());
    };
    let job = &record.job;
    set("SLURM_JOB_ID", job.id.to_string());
    set("SLURM_JOBID", job.id.to_string());
    set("SLURM_JOB_NAME", job.name.clone());
    set("SLURM_CLUSTER_NAME", super::NAME.to_owned());
    set("SLURM_JOB_PARTITION", super::NAME.to_owned());
    set("SLURM_JOB_NODELIST", machine.host.clone());
    set("SLURM_JOB_NUM_NODES", "1".to_owned());
    set("SLURM_JOB_START_TIME", start.at.as_second().to_string());
    if let Some(until) = start.until {
        set("SLURM_JOB_END_TIME", until.as_second().to_string());
    }
    if let Some(cpus) = job.request.cpus {
        set("SLURM_CPUS_PER_TASK", cpus.to_string());
        set("SLURM_CPUS_ON_NODE", cpus.to_string());
    }
    // Indices in the order of NVML and nvidia-smi. Empty: none of another job's.
    set("CUDA_DEVICE_ORDER", "PCI_BUS_ID".to_owned());
    set("CUDA_VISIBLE_DEVICES", start.has.gpus.join(","));
    if !start.has.gpus.is_empty() {
        set("SLURM_GPUS_ON_NODE", start.has.gpus.len().to_string());
        set("SLURM_JOB_GPUS", start.has.gpus.join(","));
    }
    all.insert("SLURM_SUBMIT_DIR".to_owned(), job.job_dir.clone().into());
    all.insert(MARK.to_owned(), record.dir.clone().into());
    all
}

/// Kills what is left of a job whose supervisor is gone (it leaves nothing itself, but may have been killed). `true`: nothing was left.
/// A process is known by the mark in its environment, looked at again while its number is held, so that no stranger is hit.
pub(super) fn nothing_left(record_dir: &Path) -> io::Result<bool> {
    let mark = [MARK.as_bytes(), b"=", record_dir.as_os_str().as_bytes()].concat();
    let mut none = true;
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let Some(pid) = pid.filter(|pid| *pid != getpid() && marked(*pid, &mark)) else { continue };
        none = false;
        let killed = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(held) if marked(pid, &mark) => pidfd_send_signal(held, Signal::KILL),
            // Linux before 5.3.
            Err(rustix::io::Errno::NOSYS) => kill_process(pid, Signal::KILL),
            Ok(_) | Err(_) => Ok(()),
        };
        if let Err(error) = killed {
            tracing::warn!(pid = pid.as_raw_nonzero().get(), %error, "a process of an ended job could not be killed");
        }
    }
    Ok(none)
}

/// A process that is over, or another account's, has no environment to read.
fn marked(pid: Pid, mark: &[u8]) -> bool {
    let environment = std::fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable == mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warning_comes_as_early_as_slurms() {
        let settings = LocalSettings::new("/nowhere".into());
        for (minutes, seconds) in [(1, 30), (2, 30), (3, 90), (60, 3510)] {
            let limit = settings.minute * minutes;
            assert_eq!(warning(limit, &settings), Duration::from_secs(seconds), "{minutes} minutes");
        }
    }

    #[test]
    fn only_processes_with_this_jobs_mark_are_killed() {
        let folder = tempfile::tempdir().expect("a folder");
        let sleeper = |mark: &Path| Command::new("sleep").arg("300").env(MARK, mark).spawn().expect("sleep runs");
        let (ours, longer) = (folder.path().join("1"), folder.path().join("10"));
        let (mut left, mut stranger) = (sleeper(&ours), sleeper(&longer));
        assert!(!nothing_left(&ours).expect("/proc"));
        left.wait().expect("killed");
        assert!(nothing_left(&ours).expect("/proc"));
        assert!(stranger.try_wait().expect("a child").is_none(), "another job's process was killed");
        stranger.kill().expect("killed");
        stranger.wait().expect("reaped");
    }
}
