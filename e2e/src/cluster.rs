//! A private Slurm cluster for one test, started by the project's own script.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::root;

pub struct Cluster {
    // Short, since socket paths end at 107 bytes.
    dir: TempDir,
}

impl Cluster {
    pub fn up() -> Self {
        Self::up_with(&[])
    }

    /// As [`Self::up`], with settings of `scripts/cluster.sh`.
    pub fn up_with(settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::Builder::new().prefix("em-").tempdir().expect("a temporary folder");
        let cluster = Self { dir };
        cluster.script("up", settings);
        cluster
    }

    pub fn configuration(&self) -> PathBuf {
        self.dir.path().join("etc/slurm.conf")
    }

    /// Output of a Slurm command on this cluster.
    pub fn slurm(&self, program: &str, args: &[&str]) -> String {
        let output = Command::new(program).args(args).env("SLURM_CONF", self.configuration()).output().expect(program);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Names of all jobs that the controller knows, ended ones too.
    pub fn job_names(&self) -> Vec<String> {
        self.slurm("squeue", &["-h", "-t", "all", "-o", "%j"]).lines().map(str::to_owned).collect()
    }

    /// SIGKILL to slurmctld, which then answers nothing. What it has not saved in its last seconds is lost.
    pub fn kill_controller(&self) {
        self.end_controller(rustix::process::Signal::KILL);
    }

    /// SIGTERM: it saves everything.
    pub fn stop_controller(&self) {
        self.end_controller(rustix::process::Signal::TERM);
    }

    fn end_controller(&self, signal: rustix::process::Signal) {
        let pid = std::fs::read_to_string(self.dir.path().join("run/slurmctld.pid")).expect("the controller's pid file");
        let pid = pid.trim().parse().ok().and_then(rustix::process::Pid::from_raw).expect("a process id");
        rustix::process::kill_process(pid, signal).expect("the controller runs");
        // Process 1 of a container may leave it as a zombie.
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        crate::wait_until("the controller is gone", std::time::Duration::from_secs(20), || {
            stat().map_or(true, |stat| stat.contains(") Z ")).then_some(())
        });
    }

    /// Starts it and waits until it answers.
    pub fn start_controller(&self) {
        let status = Command::new("slurmctld")
            .env("SLURM_CONF", self.configuration())
            .env("PATH", path_with_sbin())
            .status()
            .expect("slurmctld");
        assert!(status.success());
        crate::wait_until("the controller answers", std::time::Duration::from_secs(30), || {
            self.slurm("scontrol", &["ping"]).contains("is UP").then_some(())
        });
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A variable of the cluster's `env.sh`.
    pub fn variable(&self, name: &str) -> String {
        let script = format!(". '{}' && printf %s \"${name}\"", self.dir.path().join("env.sh").display());
        let output = Command::new("bash").args(["-c", &script]).output().expect("bash");
        String::from_utf8(output.stdout).expect("text")
    }

    fn script(&self, verb: &str, settings: &[(&str, &str)]) {
        let output = Command::new(root().join("scripts/cluster.sh"))
            .arg(verb)
            .env("DIR", self.dir.path())
            // Job scripts are login shells, and tests kill them: whose files they read must not matter.
            .env("JOB_HOME", self.dir.path().join("home"))
            .envs([("PORT", "auto"), ("NODES", "2"), ("CPUS", "4"), ("GPUS", "2"), ("ACCT", "0")])
            .envs(settings.iter().copied())
            .output()
            .expect("scripts/cluster.sh");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cluster.sh {verb}: {said}{}", String::from_utf8_lossy(&output.stdout));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.script("down", &[]);
    }
}

fn path_with_sbin() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}
