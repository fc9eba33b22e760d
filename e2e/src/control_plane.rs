//! The control plane and `emctl`, as their users start them.

use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use em_api::experiment::Experiment;
use em_api::results::Results;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::{Cluster, Guarded, binary, store, wait_until};

pub struct ControlPlane {
    home: TempDir,
    port: u16,
    slurm_conf: PathBuf,
    settings: Vec<String>,
    process: Option<Guarded>,
}

impl ControlPlane {
    /// Starts a control plane with a state of its own on the given cluster. Polls fast, so that tests do not wait for the clock.
    pub fn start(cluster: &Cluster) -> Self {
        Self::start_with(cluster, &["--poll-interval", "1s", "--fast-poll-interval", "1s", "--settle-time", "2s"])
    }

    /// As [`Self::start`], with settings of the test's own; through Slurm's commands, where they name no other way.
    pub fn start_with(cluster: &Cluster, settings: &[&str]) -> Self {
        let scheduler: &[&str] = if settings.contains(&"--scheduler") { &[] } else { &["--scheduler", "cli"] };
        let settings = scheduler.iter().chain(settings);
        let settings = settings.map(|setting| (*setting).to_owned()).collect();
        let home = tempfile::Builder::new().prefix("em-cp-").tempdir().expect("a temporary folder");
        let mut plane = Self { home, port: free_port(), slurm_conf: cluster.configuration(), settings, process: None };
        plane.restart();
        plane
    }

    /// Starts it (again) on the same state and the same port.
    pub fn restart(&mut self) {
        let log = OpenOptions::new().create(true).append(true).open(self.log_path()).expect("the log");
        let errors: File = log.try_clone().expect("the log");
        let mut command = Command::new(binary("em-controlplane"));
        command.arg("serve").args(&self.settings);
        command.args(["--listen", &format!("127.0.0.1:{}", self.port)]);
        command
            .arg("--state-dir")
            .arg(self.state_dir())
            .arg("--job-dir")
            .arg(self.home.path().join("jobs"))
            .arg("--store-dir")
            .arg(store());
        command.env("SLURM_CONF", &self.slurm_conf).stdin(Stdio::null()).stdout(log).stderr(errors);
        self.process = Some(Guarded::spawn(&mut command));
        wait_until("the control plane is ready", Duration::from_secs(20), || self.ready().then_some(()));
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn state_dir(&self) -> PathBuf {
        self.home.path().join("state")
    }

    pub fn job_dir(&self) -> PathBuf {
        self.home.path().join("jobs")
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).expect("a file of the test");
        path
    }

    pub fn emctl(&self, args: &[&str]) -> Output {
        Command::new(binary("emctl"))
            .arg("--state-dir")
            .arg(self.state_dir())
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("emctl")
    }

    /// As [`Self::emctl`], and must succeed.
    pub fn emctl_ok(&self, args: &[&str]) -> String {
        let output = self.emctl(args);
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "emctl {args:?} ended with {:?}:\n{said}\n{}", output.status.code(), self.log());
        said
    }

    pub fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        let text = self.get_text(path);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }

    pub fn get_text(&self, path: &str) -> String {
        let token = std::fs::read_to_string(self.state_dir().join("admin-token")).expect("the admin token");
        let url = format!("{}{path}", self.url());
        block_on(async {
            let response = reqwest::Client::new().get(&url).bearer_auth(token.trim()).send().await.expect("an answer");
            assert!(response.status().is_success(), "GET {url}: {}", response.status());
            response.text().await.expect("a body")
        })
    }

    pub fn experiment(&self, name: &str) -> Experiment {
        self.get(&format!("/experiments/{name}"))
    }

    pub fn results(&self, name: &str) -> Results {
        self.get(&format!("/experiments/{name}/results"))
    }

    /// Waits for the end of an experiment; the last state is in the panic if it does not come.
    pub fn wait_for_end(&self, name: &str, limit: Duration) -> Experiment {
        self.wait_for(name, "it ends", limit, |experiment| experiment.status.phase.ended())
    }

    pub fn wait_for(&self, name: &str, what: &str, limit: Duration, reached: impl Fn(&Experiment) -> bool) -> Experiment {
        let begin = std::time::Instant::now();
        loop {
            let experiment = self.experiment(name);
            if reached(&experiment) {
                return experiment;
            }
            assert!(begin.elapsed() < limit, "waited {limit:?} in vain: {what}; {:#?}\n{}", experiment.status, self.log());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The end of the control plane's log, for messages of failed tests.
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    fn log_path(&self) -> PathBuf {
        self.home.path().join("controlplane.log")
    }

    fn ready(&self) -> bool {
        block_on(async { reqwest::get(format!("{}/readyz", self.url())).await.is_ok_and(|answer| answer.status().is_success()) })
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}
