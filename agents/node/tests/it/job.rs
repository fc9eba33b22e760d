//! Builds a job directory and runs the real `em-agent` in it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use em_api::agent::Record;
use em_api::measurement::Measurement;
use em_api::plan::{Plan, PlannedTrial, Server, ServiceRun};
use em_api::spec::*;
use em_api::{AttemptId, BlockId, ExperimentUid, HumanDuration, ShardId, TrialId};
use rustix::process::{Pid, Signal, kill_process};

use crate::control_plane::TOKEN;

pub(crate) const AGENT: &str = env!("CARGO_BIN_EXE_em-agent");
/// In the environment of the agent and all that it starts: how leftovers are found.
const MARK: &str = "EM_TEST_MARK";

/// A store that `em-agent setup` has filled: the tests measure the real service.
pub(crate) fn store() -> PathBuf {
    let store = std::env::var("EM_TEST_STORE").expect(
        "EM_TEST_STORE names no store: these tests measure the real ort service. Fill one with \
         `em-agent setup --store DIR --backends ort --model sentence-transformers/all-MiniLM-L6-v2 --dataset wordnet`",
    );
    PathBuf::from(store)
}

pub(crate) struct Job {
    folder: tempfile::TempDir,
    pub(crate) plan: Plan,
    environment: BTreeMap<String, String>,
    mark: String,
}

/// A running `em-agent run`; killed when dropped.
pub(crate) struct Agent {
    child: Child,
    log: PathBuf,
    mark: String,
}

impl Job {
    /// Short trials of a few short texts, for the server at `port`.
    pub(crate) fn new(port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let texts = folder.path().join("texts.txt");
        let lines: Vec<String> = (0..400).map(|n| format!("text number {n} speaks of rivers, bridges and boats")).collect();
        fs::write(&texts, lines.join("\n")).unwrap();
        let plan = Plan {
            api_version: "em/v1alpha1".to_owned(),
            experiment: "agent-test".to_owned(),
            experiment_uid: ExperimentUid::generate(),
            shard: ShardId::generate(),
            attempt: AttemptId::generate(),
            attempt_number: 1,
            server: Some(Server {
                url: format!("http://127.0.0.1:{port}"),
                ca_sha256: None,
                claim_timeout: HumanDuration::from_secs(20),
            }),
            store_dir: std::env::var("EM_TEST_STORE").unwrap_or_else(|_| "/nonexistent".to_owned()),
            model: Model {
                id: "sentence-transformers/all-MiniLM-L6-v2".to_owned(),
                revision: "main".to_owned(),
                path: None,
                pooling: Pooling::Mean,
                normalize: true,
                dtype: Dtype::Float32,
                max_length: None,
            },
            dataset: Dataset { source: DatasetSource::Text, path: Some(texts.to_str().unwrap().to_owned()), limit: 1000, seed: 42 },
            load: Load {
                duration: HumanDuration::from_secs(2),
                warmup: HumanDuration(Duration::from_millis(500)),
                repetitions: 1,
                arrival: Arrival::Constant,
                ramp: None,
                trace: None,
                text_tokens: None,
                wire: Wire::OpenaiFloat,
                timeout: HumanDuration::from_secs(10),
                min_requests: 1,
                service: ServiceScope::PerRepetition,
                placement: Placement::SameNode,
            },
            backends: vec![ort()],
            gpus_expected: false,
            services: Vec::new(),
            traceparent: None,
        };
        Self { folder, plan, environment: BTreeMap::new(), mark: TrialId::generate().to_string() }
    }

    /// Adds a start of `backend` with one trial a batch size.
    pub(crate) fn service(mut self, backend: &str, batch_sizes: &[u32]) -> Self {
        let trial = |&batch_size: &u32| PlannedTrial {
            id: TrialId::generate(),
            block: BlockId::generate(),
            batch_size,
            load: LoadLevel::Concurrency(2),
            text_offset: 0,
        };
        let trials = batch_sizes.iter().map(trial).collect();
        self.plan.services.push(ServiceRun { backend: backend.to_owned(), repetition: 1, trials });
        self
    }

    pub(crate) fn backend(mut self, backend: Backend) -> Self {
        self.plan.backends.push(backend);
        self
    }

    pub(crate) fn duration(mut self, seconds: u64) -> Self {
        self.plan.load.duration = HumanDuration::from_secs(seconds);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn trials(&self) -> Vec<TrialId> {
        self.plan.services.iter().flat_map(|service| service.trials.iter().map(|trial| trial.id)).collect()
    }

    pub(crate) fn start(&self) -> Agent {
        fs::write(self.path().join("plan.json"), serde_json::to_vec_pretty(&self.plan).unwrap()).unwrap();
        if self.plan.server.is_some() {
            fs::write(self.path().join("token"), TOKEN).unwrap();
        }
        let log = self.path().join(format!("agent-{}.log", TrialId::generate()));
        let mut command = Command::new(AGENT);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SLURM") || name.starts_with("EM_")) {
            command.env_remove(name);
        }
        let child = command
            .args(["run", "--plan"])
            .arg(self.path().join("plan.json"))
            .envs(&self.environment)
            .env(MARK, &self.mark)
            .stdin(Stdio::null())
            .stdout(File::create(log.with_extension("out")).unwrap())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Agent { child, log, mark: self.mark.clone() }
    }

    pub(crate) fn spooled(&self, epoch: u32, trial: TrialId) -> Option<Measurement> {
        let path = self.path().join(format!("spool/e{epoch}/measurement-{trial}.json"));
        fs::read(path).ok().map(|json| serde_json::from_slice(&json).unwrap())
    }

    pub(crate) fn spooled_records(&self, epoch: u32) -> Vec<Record> {
        let text = fs::read_to_string(self.path().join(format!("spool/e{epoch}/records.jsonl"))).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

pub(crate) fn ort() -> Backend {
    Backend {
        name: "ort".to_owned(),
        kind: BackendKind::Ort,
        device: Device::Cpu,
        dtype: None,
        args: Vec::new(),
        env: BTreeMap::new(),
        python: None,
        command: None,
        url: None,
        api_key_file: None,
        api_key_env: None,
        binary: None,
        image: None,
        batch: None,
        start_timeout: HumanDuration::from_secs(40),
        parity: ParityGate::Report,
    }
}

/// A backend whose service is this shell line.
pub(crate) fn shell(name: &str, line: &str) -> Backend {
    let command = vec!["sh".to_owned(), "-c".to_owned(), line.to_owned()];
    Backend { name: name.to_owned(), kind: BackendKind::Huggingface, command: Some(command), ..ort() }
}

impl Agent {
    /// Waits for its end; shows its log when that takes too long.
    pub(crate) fn wait(&mut self, within: Duration) -> ExitStatus {
        let end = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "em-agent did not end within {within:?}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn terminate(&self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Standard output.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.log.with_extension("out")).unwrap_or_default()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Processes that the agent or its children started and that still live, with their command lines.
    pub(crate) fn processes(&self) -> Vec<(Pid, String)> {
        let mark = format!("{MARK}={}", self.mark);
        let own = self.child.id().to_string();
        let look = |name: &str| {
            let environ = fs::read(format!("/proc/{name}/environ")).ok()?;
            environ.split(|&byte| byte == 0).find(|pair| *pair == mark.as_bytes())?;
            let command = fs::read_to_string(format!("/proc/{name}/cmdline")).ok()?.replace('\0', " ");
            Some((Pid::from_raw(name.parse().ok()?)?, command))
        };
        let names = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| *name != own).filter_map(|name| look(&name)).collect()
    }

    /// The kernel needs a while to end a tree of processes.
    pub(crate) fn assert_nothing_left_after(&self, seconds: u64) {
        wait_until("no process left", Duration::from_secs(seconds), || self.processes().is_empty());
    }

    pub(crate) fn assert_nothing_left(&self) {
        self.assert_nothing_left_after(3);
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn wait_until(what: &str, within: Duration, fact: impl Fn() -> bool) {
    let end = Instant::now() + within;
    while !fact() {
        assert!(Instant::now() < end, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
