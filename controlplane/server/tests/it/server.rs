//! Starts a server in a folder of its own, stops it in order, or lets it crash.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use em_api::client::Client;
use em_api::client::experiments::Body;
use em_api::experiment::Experiment;
use em_api::inputs::{Entry, EntryKind, manifest_path, required};
use em_api::status::Phase;
use em_controlplane::config::{LogFormat, SchedulerKind, Settings};
use em_controlplane::serve::{self, Running};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::fake_slurm::FakeSlurm;

pub(crate) struct Server {
    folder: tempfile::TempDir,
    pub(crate) slurm: FakeSlurm,
    settings: fn(&Path) -> Settings,
    /// Runs the server; dropping it in the background is the crash.
    runtime: Option<(Runtime, Running)>,
    /// Runs our own calls.
    pub(crate) calls: Runtime,
    pub(crate) client: Client,
    pub(crate) url: String,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(settings, |_| {})
    }

    /// With settings of the test's own, on a Slurm that it has prepared.
    pub(crate) fn start_with(settings: fn(&Path) -> Settings, prepare: impl FnOnce(&FakeSlurm)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), settings, prepare)
    }

    /// In a folder that the test has prepared.
    pub(crate) fn start_in(folder: tempfile::TempDir, settings: fn(&Path) -> Settings, prepare: impl FnOnce(&FakeSlurm)) -> Self {
        let slurm = FakeSlurm::default();
        prepare(&slurm);
        let (runtime, running) = run(&settings(folder.path()), &slurm);
        let url = running.url().to_owned();
        let client = client(&settings(folder.path()).state_dir, &url);
        let calls = Runtime::new().unwrap();
        Self { folder, slurm, settings, runtime: Some((runtime, running)), calls, client, url }
    }

    /// As `kill -9`: every task ends where it stands.
    pub(crate) fn crash(&mut self) {
        if let Some((runtime, running)) = self.runtime.take() {
            runtime.shutdown_background();
            drop(running);
        }
    }

    pub(crate) fn restart(&mut self) {
        self.crash();
        let (runtime, running) = run(&(self.settings)(self.folder.path()), &self.slurm);
        self.url = running.url().to_owned();
        self.client = client(&self.state_dir(), &self.url);
        self.runtime = Some((runtime, running));
    }

    pub(crate) fn stop(&mut self) {
        if let Some((runtime, running)) = self.runtime.take() {
            runtime.block_on(running.stop());
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        (self.settings)(self.folder.path()).state_dir
    }

    /// The folder of an experiment's job directories.
    pub(crate) fn experiment_dir(&self, experiment: &Experiment) -> PathBuf {
        let (name, uid) = (&experiment.metadata.name, experiment.metadata.uid.to_string().to_lowercase());
        (self.settings)(self.folder.path()).job_dir.join(format!("{name}-{}", &uid[uid.len() - 8..]))
    }

    /// A request of the admin, as it is answered.
    pub(crate) fn ask(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> reqwest::Response {
        let request = reqwest::Client::new().request(method, format!("{}{path}", self.url)).bearer_auth(self.token("admin-token"));
        let request = body.into_iter().fold(request, |request, body| request.json(&body));
        self.calls.block_on(request.send()).unwrap()
    }

    /// A series of `/metrics`, by its name and labels; 0 where there is none.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let answer = self.ask(reqwest::Method::GET, "/metrics", None);
        let text = self.calls.block_on(answer.text()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        line.unwrap_or(0.0)
    }

    pub(crate) fn token(&self, file: &str) -> String {
        std::fs::read_to_string(self.state_dir().join(file)).unwrap().trim().to_owned()
    }

    /// Posts an experiment whose inputs are there.
    pub(crate) fn create(&self, body: &Value) -> Experiment {
        let created = self.calls.block_on(self.client.create_experiment(Body::Json(body.clone()), false)).unwrap();
        self.provide_inputs(&created.answer.experiment);
        created.answer.experiment
    }

    /// Writes the manifests that `em-agent setup` would write.
    pub(crate) fn provide_inputs(&self, experiment: &Experiment) {
        for (kind, key) in required(&experiment.spec) {
            self.provide(kind, &key);
        }
    }

    fn provide(&self, kind: EntryKind, key: &str) {
        let path = manifest_path(&self.folder.path().join("store"), kind, key);
        let entry = Entry {
            kind,
            key: key.to_owned(),
            path: key.to_owned(),
            sha256: "0".repeat(64),
            created_at: em_api::Timestamp::now(),
            details: Default::default(),
        };
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, serde_json::to_string(&entry).unwrap()).unwrap();
    }

    pub(crate) fn get(&self, name: &str) -> Experiment {
        self.calls.block_on(self.client.experiment(name)).unwrap()
    }

    /// Waits until the experiment is as wished, at most 20 s.
    pub(crate) fn until(&self, name: &str, what: &str, wished: impl Fn(&Experiment) -> bool) -> Experiment {
        let begin = Instant::now();
        loop {
            let experiment = self.get(name);
            if wished(&experiment) {
                return experiment;
            }
            let status = serde_json::to_string_pretty(&experiment.status).unwrap();
            assert!(begin.elapsed() < Duration::from_secs(20), "not within 20 s: {what}; the status is {status}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn until_phase(&self, name: &str, phase: Phase) -> Experiment {
        self.until(name, phase.as_str(), |experiment| experiment.status.phase == phase)
    }

    pub(crate) fn events(&self, name: &str) -> Vec<String> {
        let events = self.calls.block_on(self.client.events(name)).unwrap();
        events.items.into_iter().map(|event| event.reason).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.crash();
    }
}

fn run(settings: &Settings, slurm: &FakeSlurm) -> (Runtime, Running) {
    let runtime = Runtime::new().unwrap();
    let begin = Instant::now();
    loop {
        match runtime.block_on(serve::start(settings, Arc::new(slurm.clone()))) {
            Ok(running) => return (runtime, running),
            // After a crash the tasks of the runtime before may take a moment to let go of the lock.
            Err(error) if begin.elapsed() < Duration::from_secs(5) => {
                assert!(error.to_string().contains("uses the state directory"), "{error:#}");
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => panic!("{error:#}"),
        }
    }
}

pub(crate) fn client(state_dir: &Path, url: &str) -> Client {
    let token = std::fs::read_to_string(state_dir.join("admin-token")).unwrap();
    Client::new(url, Some(token.trim().to_owned())).unwrap()
}

/// Everything fast; the budget of 20 reads a minute stays.
pub(crate) fn settings(folder: &Path) -> Settings {
    let ms = Duration::from_millis;
    Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        agent_listen: None,
        advertise: None,
        state_dir: folder.join("state"),
        job_dir: folder.join("jobs"),
        store_dir: folder.join("store"),
        agent: folder.join("em-agent"),
        slurm_bin_dir: None,
        slurm_timeout: ms(1_000),
        scheduler: SchedulerKind::Cli,
        rest: None,
        local_gpus: Default::default(),
        local_jobs: std::num::NonZeroUsize::MIN,
        database: None,
        poll_interval: ms(300),
        fast_poll_interval: ms(100),
        slurm_reads_per_minute: 6_000,
        settle_time: ms(500),
        submit_rate: 2.0,
        submit_burst: 20,
        limit_pause: ms(500),
        job_dir_timeout: Duration::from_secs(2),
        missing_grace: ms(600),
        retry_backoff: ms(50),
        collect_grace: ms(100),
        agent_silent_after: ms(2_000),
        claim_timeout: Duration::from_secs(1),
        limits: Default::default(),
        webhook: None,
        watch_history: Duration::from_secs(24 * 3600),
        log_format: LogFormat::Text,
    }
}

/// Two backends × one batch size × two repetitions: 4 trials in 2 blocks.
pub(crate) fn body(name: &str) -> Value {
    json!({
        "apiVersion": "em/v1alpha1", "kind": "Experiment", "metadata": {"name": name},
        "spec": {
            "model": {"id": "sentence-transformers/all-MiniLM-L6-v2"},
            "dataset": {"source": "wordnet", "limit": 1000},
            "backends": [{"name": "a", "type": "ort", "device": "cpu"}, {"name": "b", "type": "ort", "device": "cpu"}],
            "matrix": {"batchSizes": [16], "concurrency": [2]},
            "load": {"duration": "10s", "warmup": "1s", "repetitions": 2, "minRequests": 10},
            "slurm": {"time": "1h"}
        }
    })
}
