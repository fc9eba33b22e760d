//! A queue in a temporary folder, and small helpers around it. What still runs is killed at the end of the test.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use em_slurm::{JobOptions, JobScript, JobView, LocalScheduler, LocalSettings, SCRIPT_FILE, Scheduler, SubmitError, Submitted};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub(crate) struct Bench {
    dir: TempDir,
    pub(crate) settings: LocalSettings,
}

const PATIENCE: Duration = Duration::from_secs(60);

impl Bench {
    /// A minute lasts two seconds.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let second = Duration::from_secs(1);
        let settings = LocalSettings {
            kill_wait: second,
            signal_lead: second,
            minute: second * 2,
            ..LocalSettings::new(dir.path().join("state"))
        };
        Self { dir, settings }
    }

    pub(crate) fn with(change: impl FnOnce(&mut LocalSettings)) -> Self {
        let mut bench = Self::new();
        change(&mut bench.settings);
        bench
    }

    pub(crate) fn open(&self) -> LocalScheduler {
        LocalScheduler::new(self.settings.clone()).expect("the queue opens")
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn job_dir(&self, name: &str) -> PathBuf {
        self.dir().join("jobs").join(name)
    }

    pub(crate) fn record(&self, id: &str) -> PathBuf {
        self.settings.state_dir.join("jobs").join(id)
    }

    /// A job of this name whose agent is this shell code, its script written.
    pub(crate) fn job(&self, name: &str, code: &str) -> JobScript {
        let script = job_in(self.job_dir(name), name, code);
        std::fs::create_dir_all(&script.job_dir).expect("the job directory");
        std::fs::write(script.job_dir.join(SCRIPT_FILE), text(&script)).expect("the script");
        script
    }

    pub(crate) async fn submit(&self, local: &LocalScheduler, name: &str, code: &str) -> String {
        local.submit(&self.job(name, code)).await.expect("accepted").id
    }

    pub(crate) async fn submit_with(
        &self,
        local: &LocalScheduler,
        name: &str,
        code: &str,
        options: JobOptions,
    ) -> Result<Submitted, SubmitError> {
        let job = JobScript { options, ..self.job(name, code) };
        local.submit(&job).await
    }

    pub(crate) fn read(&self, name: &str, file: &str) -> String {
        std::fs::read_to_string(self.job_dir(name).join(file)).unwrap_or_default()
    }

    /// Processes of jobs of this queue: none of them has an environment without its path.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        let mark = self.settings.state_dir.to_string_lossy().into_owned();
        let pids = std::fs::read_dir("/proc").expect("/proc").filter_map(|entry| {
            let pid = Pid::from_raw(entry.ok()?.file_name().to_str()?.parse().ok()?)?;
            let environment = std::fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).ok()?;
            String::from_utf8_lossy(&environment).contains(&format!("EM_SLURM_LOCAL_JOB={mark}")).then_some(pid)
        });
        pids.collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for pid in self.processes() {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Not as a login shell: these jobs are killed at any moment, which must not matter to the login files of whoever runs the tests
/// (pyenv's leave a lock behind, and wait a minute for it).
pub(crate) fn text(script: &JobScript) -> String {
    let text = script.render();
    assert!(text.starts_with("#!/bin/bash -l\n"), "{text}");
    text.replacen("#!/bin/bash -l", "#!/bin/bash", 1)
}

pub(crate) fn job_in(job_dir: PathBuf, name: &str, code: &str) -> JobScript {
    JobScript {
        name: name.to_owned(),
        comment: format!("comment of {name}"),
        options: JobOptions::default(),
        job_dir,
        modules: Vec::new(),
        setup: Vec::new(),
        env: std::collections::BTreeMap::new(),
        agent: ["bash", "-c", code].map(str::to_owned).to_vec(),
    }
}

/// The only job of this name, once it is as expected.
pub(crate) async fn view(local: &LocalScheduler, name: &str, expected: impl Fn(&JobView) -> bool) -> JobView {
    let end = Instant::now() + PATIENCE;
    loop {
        let jobs = local.find(name).await.expect("an answer");
        let [view] = &jobs[..] else { panic!("one job {name}: {jobs:?}") };
        if expected(view) {
            return view.clone();
        }
        assert!(Instant::now() < end, "job {name} is not as expected: {view:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) async fn ended(local: &LocalScheduler, name: &str) -> JobView {
    view(local, name, |view| view.state.ended()).await
}

pub(crate) async fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "gave up waiting for {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

pub(crate) fn signal(pid: &str, signal: Signal) {
    let pid = pid.trim().parse().ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("the process is there");
}
