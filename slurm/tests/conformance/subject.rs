//! What is tested: one transport on one cluster, and small helpers around it.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use em_slurm::{
    JobOptions, JobScript, JobView, RestEndpoint, RestScheduler, RestSettings, RestVersion, SCRIPT_FILE, Scheduler, SubmitError,
    Submitted, TokenSource,
};

use crate::cluster::{Cluster, bin_dir};

pub(crate) struct Subject {
    pub(crate) slurm: Box<dyn Scheduler>,
    /// Part of the names of its jobs, so that several share a cluster.
    pub(crate) name: String,
    /// Whose jobs these are.
    pub(crate) user: String,
    /// Where its jobs' folders are.
    dir: PathBuf,
}

/// The ways to talk to a cluster that was started with REST=1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Transport {
    Cli,
    /// slurmrestd by its Unix socket: the jobs are those of the user that it runs as.
    Socket,
    /// slurmrestd by TCP with a token: the jobs are ours.
    Token,
}

pub(crate) const TRANSPORTS: [Transport; 3] = [Transport::Cli, Transport::Socket, Transport::Token];

impl Subject {
    pub(crate) fn new(name: &str, slurm: Box<dyn Scheduler>, user: String, dir: PathBuf) -> Self {
        Self { slurm, name: name.to_owned(), user, dir }
    }

    /// `timeout`: our own deadline.
    pub(crate) fn of(cluster: &Cluster, transport: Transport, timeout: Duration) -> Self {
        let slurm: Box<dyn Scheduler> = match transport {
            Transport::Cli => Box::new(cluster.scheduler_with(timeout)),
            _ => Box::new(RestScheduler::new(RestSettings { timeout, ..settings(cluster, transport) }).expect("settings")),
        };
        let (name, user) = match transport {
            Transport::Cli => ("cli", cluster.user()),
            Transport::Socket => ("socket", environment(cluster, "SLURMRESTD_USER")),
            Transport::Token => ("token", cluster.user()),
        };
        Self::new(name, slurm, user, cluster.dir().join("jobs"))
    }

    pub(crate) fn version(cluster: &Cluster, version: RestVersion) -> Self {
        let settings = RestSettings { version: Some(version), ..settings(cluster, Transport::Token) };
        let name = version.to_string().replace('.', "");
        Self::new(&name, Box::new(RestScheduler::new(settings).expect("settings")), cluster.user(), cluster.dir().join("jobs"))
    }

    /// The name of its job `what`. Those of one check begin alike.
    pub(crate) fn job_name(&self, what: &str) -> String {
        format!("em-{}-{what}", self.name)
    }

    pub(crate) fn job(&self, what: &str, code: &str) -> JobScript {
        let name = self.job_name(what);
        JobScript {
            job_dir: self.dir.join(&name),
            name,
            comment: String::new(),
            options: JobOptions::default(),
            modules: Vec::new(),
            setup: Vec::new(),
            env: std::collections::BTreeMap::new(),
            agent: ["bash", "-c", code].map(str::to_owned).to_vec(),
        }
    }

    /// Writes the script and submits it. The job may be another user's than ours.
    pub(crate) async fn submit(&self, script: &JobScript) -> Result<Submitted, SubmitError> {
        std::fs::create_dir_all(&script.job_dir).expect("the job directory");
        std::fs::set_permissions(&script.job_dir, PermissionsExt::from_mode(0o777)).expect("writable for all");
        std::fs::write(script.job_dir.join(SCRIPT_FILE), script.render()).expect("the script");
        self.slurm.submit(script).await
    }

    /// The listing's view of the job, once it is as expected.
    pub(crate) async fn view(&self, name: &str, expected: impl Fn(&JobView) -> bool) -> JobView {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let jobs = self.slurm.list(name).await.expect("the listing");
            if let Some(view) = jobs.iter().find(|view| view.name == name && expected(view)) {
                return view.clone();
            }
            assert!(Instant::now() < end, "job {name} is not as expected: {jobs:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

pub(crate) fn settings(cluster: &Cluster, transport: Transport) -> RestSettings {
    if transport == Transport::Socket {
        let socket = environment(cluster, "SLURMRESTD_SOCKET").into();
        return RestSettings::new(RestEndpoint::Socket(socket), environment(cluster, "SLURMRESTD_USER"));
    }
    let url = RestEndpoint::Url(environment(cluster, "SLURMRESTD_URL"));
    RestSettings { token: Some(token(cluster, 3600)), ..RestSettings::new(url, cluster.user()) }
}

/// A command that prints tokens of this cluster.
pub(crate) fn token(cluster: &Cluster, seconds: u32) -> TokenSource {
    let scontrol = bin_dir().map_or_else(|| "scontrol".into(), |dir| dir.join("scontrol"));
    TokenSource::Command(vec![
        "env".to_owned(),
        format!("SLURM_CONF={}", cluster.conf().display()),
        scontrol.display().to_string(),
        "token".to_owned(),
        format!("lifespan={seconds}"),
    ])
}

/// A variable of the cluster's env.sh.
fn environment(cluster: &Cluster, name: &str) -> String {
    let text = std::fs::read_to_string(cluster.dir().join("env.sh")).expect("env.sh");
    let mut words = text.split_ascii_whitespace();
    words.find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).expect(name).to_owned()
}
