//! A service's process group: started with a guard, watched, stopped as a whole.
//!
//! The guard is a shell that leads the group and reads from a pipe of ours. Should the agent die, even by SIGKILL, the pipe
//! closes and the guard ends the whole group, grandchildren included; PR_SET_PDEATHSIG would reach only the first process.

use std::fmt;
use std::fs::OpenOptions;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use rustix::thread::{CpuSet, sched_setaffinity};
use tokio::sync::watch;

use super::command::Plan;

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = if cfg!(test) { Duration::from_secs(1) } else { Duration::from_secs(15) };
const POLL: Duration = Duration::from_millis(50);
const GUARD: &str = "trap '' TERM INT HUP; read -r _; kill -TERM 0; sleep 5; kill -KILL 0";

#[derive(Debug)]
pub(super) struct Group {
    pid: u32,
    id: Pid,
    /// Its standard input is held open as long as the group may live.
    guard: Child,
    exit: ExitWatch,
    gone: bool,
}

/// How a group ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StopReport {
    /// Of the process that was started; absent when there was none.
    pub exit: Option<Exit>,
    /// Whether something had to be killed after the grace period.
    pub killed: bool,
    pub seconds: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    pub code: Option<i32>,
    pub signal: Option<i32>,
}

impl Group {
    /// Errors: in words, with the program's name.
    pub(super) fn spawn(plan: &Plan, log: &Path, cores: Option<Vec<u32>>) -> Result<Self, String> {
        let command = command(plan, log).map_err(|error| format!("cannot write the service's log {}: {error}", log.display()))?;
        let mut guard = Command::new("/bin/sh")
            .args(["-c", GUARD])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| format!("cannot start /bin/sh: {error}"))?;
        let id = Pid::from_child(&guard);
        match spawn_watched(command, id, cores) {
            Ok((pid, exit)) => Ok(Self { pid, id, guard, exit, gone: false }),
            Err(error) => {
                let _ = guard.kill();
                let _ = guard.wait();
                Err(format!("cannot start {}: {error}", plan.program.display()))
            }
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn exit(&self) -> ExitWatch {
        self.exit.clone()
    }

    pub(super) fn alive(&self) -> bool {
        self.exit.0.borrow().is_none()
    }

    /// How the started process ended; `None` while it lives.
    pub(super) fn ended(&self) -> Option<Exit> {
        *self.exit.0.borrow()
    }

    /// Living processes of the group, the guard left out.
    pub(super) fn members(&self) -> Vec<u32> {
        let guard = self.guard.id();
        group_members(self.id).into_iter().filter(|pid| *pid != guard).collect()
    }

    pub(super) async fn stop(mut self) -> StopReport {
        let started = Instant::now();
        // ESRCH: all of it is gone already.
        let _ = kill_process_group(self.id, Signal::TERM);
        while !self.members().is_empty() && started.elapsed() < GRACE {
            tokio::time::sleep(POLL).await;
        }
        let killed = !self.members().is_empty();
        self.kill();
        // A process in an uninterruptible read outlives its SIGKILL for a while.
        while !self.members().is_empty() && started.elapsed() < GRACE + Duration::from_secs(5) {
            tokio::time::sleep(POLL).await;
        }
        let exit = tokio::time::timeout(Duration::from_secs(5), self.exit.ended()).await.ok();
        StopReport { exit, killed, seconds: started.elapsed().as_secs_f64() }
    }

    fn kill(&mut self) {
        if !self.gone {
            let _ = kill_process_group(self.id, Signal::KILL);
            let _ = self.guard.wait();
            self.gone = true;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The exit of the started process, once it is known.
#[derive(Clone, Debug)]
pub(super) struct ExitWatch(watch::Receiver<Option<Exit>>);

impl ExitWatch {
    pub(super) async fn ended(&mut self) -> Exit {
        match self.0.wait_for(Option::is_some).await {
            Ok(exit) => exit.unwrap_or(Exit { code: None, signal: None }),
            Err(_) => Exit { code: None, signal: None },
        }
    }
}

fn command(plan: &Plan, log: &Path) -> std::io::Result<Command> {
    if let Some(folder) = log.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let out = OpenOptions::new().create(true).append(true).open(log)?;
    let mut command = Command::new(&plan.program);
    command.args(&plan.args).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
    for name in &plan.unset {
        command.env_remove(name);
    }
    command.envs(&plan.env);
    Ok(command)
}

/// Starts the process from a thread of its own, which then waits for it. The thread carries the cores (a child inherits them),
/// and lives as long as the child: an agent's own `PR_SET_PDEATHSIG` is bound to the thread that forked.
fn spawn_watched(mut command: Command, group: Pid, cores: Option<Vec<u32>>) -> std::io::Result<(u32, ExitWatch)> {
    let (started, start) = std::sync::mpsc::sync_channel(1);
    let (ended, exit) = watch::channel(None);
    command.process_group(group.as_raw_nonzero().get());
    std::thread::Builder::new().name("service".into()).spawn(move || {
        let spawned = pin(cores).and_then(|()| command.spawn());
        // The log's file handles in `command` are not needed any more.
        drop(command);
        match spawned {
            Ok(mut child) => {
                let _ = started.send(Ok(child.id()));
                ended.send_replace(Some(child.wait().map_or(Exit { code: None, signal: None }, Exit::from)));
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        }
    })?;
    let pid = start.recv().map_err(|_| std::io::Error::other("the starting thread ended"))??;
    Ok((pid, ExitWatch(exit)))
}

fn pin(cores: Option<Vec<u32>>) -> std::io::Result<()> {
    let Some(cores) = cores else { return Ok(()) };
    let mut set = CpuSet::new();
    for core in cores.iter().filter(|core| **core < CpuSet::MAX_CPU as u32) {
        set.set(*core as usize);
    }
    sched_setaffinity(None, &set)
        .map_err(|error| std::io::Error::other(format!("the cores {cores:?} are not this job's to use: {error}")))
}

/// Processes of a group, zombies left out (proc(5), /proc/PID/stat: `pid (comm) state ppid pgrp …`).
fn group_members(group: Pid) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
            let Some((_, rest)) = stat.rsplit_once(") ") else { return false };
            let mut fields = rest.split(' ');
            let zombie = matches!(fields.next(), Some("Z" | "X"));
            !zombie && fields.nth(1).and_then(|id| id.parse().ok()) == Some(group.as_raw_nonzero().get())
        })
        .collect()
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        Self { code: status.code(), signal: status.signal() }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exit code {code}"),
            (None, Some(signal)) => write!(f, "signal {signal}"),
            (None, None) => f.write_str("an unknown status"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, folder: &Path) -> Group {
        let plan = Plan {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: [("EM_TEST_WORD".to_owned(), "hello".to_owned())].into(),
            python: false,
            unset: vec!["HOME"],
            versions: Default::default(),
            warm_cache: None,
        };
        Group::spawn(&plan, &folder.join("log"), None).expect("spawn")
    }

    async fn until(what: &str, condition: impl Fn() -> bool) {
        for _ in 0..200 {
            if condition() {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
        panic!("{what} did not happen within 10 s");
    }

    #[tokio::test]
    async fn stopping_ends_grandchildren_even_those_that_ignore_the_request() {
        let folder = tempfile::tempdir().expect("folder");
        let group = shell("sh -c 'trap \"\" TERM; echo up; sleep 100; sleep 100' & sleep 100", folder.path());
        let id = group.id;
        until("the trap", || std::fs::read_to_string(folder.path().join("log")).is_ok_and(|log| log.contains("up"))).await;
        until("three processes", || group.members().len() >= 3).await;
        let report = group.stop().await;
        assert!(report.killed, "{report:?}");
        assert_eq!(report.exit, Some(Exit { code: None, signal: Some(15) }));
        assert_eq!(group_members(id), Vec::<u32>::new());
    }

    #[tokio::test]
    async fn a_service_that_heeds_the_request_is_not_killed() {
        let folder = tempfile::tempdir().expect("folder");
        let group = shell("trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done", folder.path());
        until("the trap", || std::fs::read_to_string(folder.path().join("log")).is_ok_and(|log| log.contains("up"))).await;
        let report = group.stop().await;
        assert_eq!((report.killed, report.exit), (false, Some(Exit { code: Some(7), signal: None })));
        assert!(report.seconds < 1.0, "{report:?}");
    }

    #[tokio::test]
    async fn an_agent_that_dies_leaves_no_process() {
        let folder = tempfile::tempdir().expect("folder");
        let mut group = shell("sleep 100 & sleep 100", folder.path());
        until("two processes", || group.members().len() >= 2).await;
        // What the kernel does to the pipe of a killed agent.
        drop(group.guard.stdin.take());
        until("the end of the group", || group.members().is_empty()).await;
    }

    #[tokio::test]
    async fn dropping_a_group_kills_it() {
        let folder = tempfile::tempdir().expect("folder");
        let group = shell("sleep 100", folder.path());
        let id = group.id;
        drop(group);
        until("the end of the group", || group_members(id).is_empty()).await;
    }

    #[tokio::test]
    async fn the_exit_and_the_environment_are_seen() {
        let folder = tempfile::tempdir().expect("folder");
        let group = shell("echo $EM_TEST_WORD-$HOME; exit 3", folder.path());
        assert_eq!(group.exit().ended().await, Exit { code: Some(3), signal: None });
        assert!(!group.alive());
        assert_eq!(std::fs::read_to_string(folder.path().join("log")).expect("log"), "hello-\n");
    }
}
