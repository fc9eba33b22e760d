//! A private cluster for one test, and small helpers around it. Ends with the test, whether it passes or not.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use em_slurm::{CliScheduler, CliSettings, JobOptions, JobScript, JobView, SCRIPT_FILE, Scheduler, SubmitError, Submitted};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;

pub(crate) struct Cluster {
    // Short, since paths of sockets end at 107 bytes.
    dir: TempDir,
}

impl Cluster {
    /// `knobs`: variables of `scripts/cluster.sh`.
    pub(crate) fn up(knobs: &[(&str, &str)]) -> Self {
        Self::up_with(knobs, |_| {})
    }

    /// `prepare` puts files beside slurm.conf first.
    pub(crate) fn up_with(knobs: &[(&str, &str)], prepare: impl FnOnce(&Path)) -> Self {
        let cluster = Self { dir: tempfile::Builder::new().prefix("em").tempdir().expect("a temporary folder") };
        std::fs::create_dir(cluster.dir().join("etc")).expect("a new folder");
        prepare(&cluster.dir().join("etc"));
        cluster.script("up", knobs);
        cluster
    }

    fn script(&self, verb: &str, knobs: &[(&str, &str)]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/cluster.sh");
        let output = Command::new(&script)
            .envs(prefix().map(|prefix| ("PREFIX", prefix)))
            // Job scripts are login shells, and tests kill them: whose files they read must not matter.
            .env("JOB_HOME", self.dir.path().join("home"))
            .args([verb, "--dir"])
            .arg(self.dir.path())
            .envs([("NODES", "1"), ("CPUS", "4"), ("GPUS", "2"), ("PORT", "auto"), ("ACCT", "0"), ("KILLWAIT", "5")])
            .envs(knobs.iter().copied())
            .output()
            .expect("scripts/cluster.sh runs");
        assert!(output.status.success(), "cluster.sh {verb}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn conf(&self) -> PathBuf {
        self.dir.path().join("etc/slurm.conf")
    }

    pub(crate) fn scheduler(&self) -> CliScheduler {
        self.scheduler_with(Duration::from_secs(30))
    }

    pub(crate) fn scheduler_with(&self, timeout: Duration) -> CliScheduler {
        CliScheduler::new(CliSettings { timeout, slurm_conf: Some(self.conf()), bin_dir: bin_dir(), ..CliSettings::default() })
    }

    pub(crate) fn user(&self) -> String {
        let output = Command::new("id").arg("-un").output().expect("id runs");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// `22.05.8`.
    pub(crate) fn version(&self) -> String {
        self.slurm("scontrol", &["--version"]).split_whitespace().last().unwrap_or_default().to_owned()
    }

    /// What a command of Slurm's prints.
    pub(crate) fn slurm(&self, program: &str, args: &[&str]) -> String {
        String::from_utf8_lossy(&self.output(program, args).stdout).into_owned()
    }

    fn output(&self, program: &str, args: &[&str]) -> Output {
        let file = bin_dir().map_or_else(|| program.into(), |dir| dir.join(program));
        Command::new(file).args(args).env("SLURM_CONF", self.conf()).env("PATH", path()).output().expect(program)
    }

    pub(crate) fn write(&self, script: &JobScript) {
        std::fs::create_dir_all(&script.job_dir).expect("the job directory");
        std::fs::write(script.job_dir.join(SCRIPT_FILE), script.render()).expect("the script");
    }

    pub(crate) async fn submit(&self, slurm: &dyn Scheduler, script: &JobScript) -> Result<Submitted, SubmitError> {
        self.write(script);
        slurm.submit(script).await
    }

    /// The listing's view of the job with this name, once it is as expected.
    pub(crate) async fn view(&self, slurm: &dyn Scheduler, name: &str, expected: impl Fn(&JobView) -> bool) -> JobView {
        let end = Instant::now() + Duration::from_secs(40);
        loop {
            let jobs = slurm.list(name).await.expect("the listing");
            if let Some(view) = jobs.iter().find(|view| view.name == name && expected(view)) {
                return view.clone();
            }
            assert!(Instant::now() < end, "job {name} is not as expected: {jobs:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn pid(&self, daemon: &str) -> Pid {
        let text = std::fs::read_to_string(self.dir.path().join(format!("run/{daemon}.pid"))).expect("its pid file");
        text.trim().parse().ok().and_then(Pid::from_raw).expect("a process id")
    }

    pub(crate) fn signal_controller(&self, signal: Signal) {
        kill_process(self.pid("slurmctld"), signal).expect("the controller runs");
    }

    pub(crate) async fn end_controller(&self) {
        self.end_by("slurmctld", Signal::TERM).await;
    }

    pub(crate) async fn end_controller_by(&self, signal: Signal) {
        self.end_by("slurmctld", signal).await;
    }

    /// `daemon`: the name of its pid file, such as `slurmdbd`.
    pub(crate) async fn end_by(&self, daemon: &str, signal: Signal) {
        let pid = self.pid(daemon);
        kill_process(pid, signal).expect(daemon);
        // Process 1 of a container may leave it as a zombie.
        let zombie =
            || std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).is_ok_and(|stat| stat.contains(") Z "));
        wait_for("its end", || test_kill_process(pid).is_err() || zombie()).await;
    }

    pub(crate) fn start_controller(&self) {
        let program = prefix().map_or_else(|| "slurmctld".into(), |prefix| prefix.join("sbin/slurmctld"));
        let status = Command::new(program).env("SLURM_CONF", self.conf()).env("PATH", path()).status();
        assert!(status.expect("slurmctld runs").success());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.script("down", &[]);
    }
}

/// Another Slurm than the installed one to test against, by its folder: `EM_TEST_SLURM_PREFIX`.
pub(crate) fn prefix() -> Option<PathBuf> {
    std::env::var_os("EM_TEST_SLURM_PREFIX").filter(|prefix| !prefix.is_empty()).map(PathBuf::from)
}

pub(crate) fn bin_dir() -> Option<PathBuf> {
    prefix().map(|prefix| prefix.join("bin"))
}

/// Jobs find srun by it too, which must be of the controller's version.
pub(crate) fn path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    bin_dir().map_or_else(String::new, |dir| format!("{}:", dir.display())) + &own + ":/usr/sbin:/sbin"
}

pub(crate) fn agent(code: &str) -> Vec<String> {
    ["bash", "-c", code].map(str::to_owned).to_vec()
}

/// A job of this name, in a folder of its own.
pub(crate) fn job(cluster: &Cluster, name: &str, agent: Vec<String>) -> JobScript {
    JobScript {
        name: name.to_owned(),
        comment: String::new(),
        options: JobOptions::default(),
        job_dir: cluster.dir().join("jobs").join(name),
        modules: Vec::new(),
        setup: Vec::new(),
        env: std::collections::BTreeMap::new(),
        agent,
    }
}

pub(crate) async fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(40);
    while !condition() {
        assert!(Instant::now() < end, "gave up waiting for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Exit code and restart count that the script has left.
pub(crate) fn witness(script: &JobScript) -> (i32, u32) {
    let witness = em_slurm::Witness::read(&script.job_dir).expect("readable").expect("written");
    (witness.code, witness.restart_count)
}
