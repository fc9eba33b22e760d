//! One interface to every backend: start it as its users do, wait for a first true vector, stop its whole process group.
//! Nothing is ever substituted: what cannot be had as asked is a [`StartFailed`] with the cure and the end of the log.

mod command;
pub(crate) mod gpu;
mod inputs;
mod key;
mod log;
mod memory;
mod port;
mod process;
mod python;
mod ready;
mod tei;
#[cfg(test)]
mod tests;
mod versions;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use em_api::measurement::{ColdStart, ServiceReport};
use em_api::spec::{Backend, BackendKind, Device, Model, Wire};
use tokio_util::sync::CancellationToken;
use tracing::info;

use command::Plan;
pub(crate) use command::request_fields;
pub use gpu::cuda_major;
pub use key::{ApiKey, KeySource};
use port::Owner;
pub use process::StopReport;
use process::{Exit, Group};
pub(crate) use ready::base_of;
use ready::{Facts, Probe};
use serde_json::{Map, Value};

/// Starts on another port when somebody else took ours between the choice and the bind.
const PORT_TRIES: u32 = 4;
const POLL: Duration = Duration::from_millis(100);
const LOG_TAIL_BYTES: usize = 8 * 1024;

/// [`StartFailed::reason`] of a service that did not come up.
pub const START_FAILED: &str = "ServiceStartFailed";
/// [`StartFailed::reason`] when the caller cancelled.
pub const INTERRUPTED: &str = "Interrupted";

/// What to start, and where.
#[derive(Clone, Debug)]
pub struct Launch {
    pub backend: Backend,
    pub model: Model,
    pub store_dir: PathBuf,
    pub work_dir: PathBuf,
    /// Standard output and error of the service.
    pub log_path: PathBuf,
    /// For `serve --backend ort`.
    pub agent_exe: PathBuf,
    /// Cores that the service may run on; absent: as the caller.
    pub cores: Option<Vec<u32>>,
    /// The first vector is asked for in this form.
    pub wire: Wire,
}

/// A running service. Dropping it kills its process group.
#[derive(Debug)]
pub struct Service {
    pub report: ServiceReport,
    /// Without a trailing slash.
    pub base_url: String,
    /// What to send as `model`.
    pub model_name: String,
    pub pid: Option<u32>,
    /// Numbers of the first vector.
    pub embedding_dim: usize,
    /// Of `openai` and `tei` with a `url`: where the bearer token is that requests must carry.
    pub key: KeySource,
    /// Fields beside the texts that each request carries.
    pub request_fields: Map<String, Value>,
    kind: BackendKind,
    log_path: PathBuf,
    /// Kills by the kernel for want of memory before this start.
    kills: Option<u64>,
    group: Option<Group>,
}

#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct StartFailed {
    /// [`START_FAILED`] or [`INTERRUPTED`].
    pub reason: String,
    pub message: String,
    pub log_tail: String,
}

/// Whether the servers of this kind understand this form of request.
pub fn supports(kind: BackendKind, wire: Wire) -> bool {
    match wire {
        Wire::OpenaiFloat | Wire::OpenaiBase64 => true,
        Wire::Embed => matches!(kind, BackendKind::Ort | BackendKind::Huggingface),
        Wire::Tei => kind == BackendKind::Tei,
    }
}

/// Returns once the service has answered with a finite vector, or with the reason why it will not. Bounded by the backend's
/// `startTimeout`; on any failure, and on `cancel`, nothing is left running.
pub async fn launch(launch: &Launch, cancel: &CancellationToken) -> Result<Service, StartFailed> {
    let deadline = Instant::now() + launch.backend.start_timeout.0;
    if !supports(launch.backend.kind, launch.wire) {
        let words = format!("load.wire: {} cannot be asked in this form", launch.backend.kind);
        return Err(StartFailed::new(words));
    }
    if let Some(url) = &launch.backend.url {
        return attach(launch, url, deadline, cancel).await;
    }
    let mut first = true;
    let mut squatter = None;
    for _ in 0..PORT_TRIES {
        let port = port::choose(launch.backend.kind.default_port(), first).map_err(|error| StartFailed::new(error.to_string()))?;
        first = false;
        let plan = command::plan(launch, port).map_err(StartFailed::new)?;
        let mut attempt = Attempt::start(launch, plan, port)?;
        match attempt.until_ready(deadline, cancel).await {
            Ok(ready) => return Ok(attempt.into_service(ready)),
            Err(NotReady::PortTaken(who)) => {
                let who = who.unwrap_or_else(|| "another process".to_owned());
                info!(backend = launch.backend.name, port, "port {port} was taken by {who}; trying another");
                squatter = Some(format!("port {port} by {who}"));
                attempt.group.stop().await;
            }
            Err(NotReady::Failed { reason, message }) => {
                attempt.group.stop().await;
                let log_tail = log::tail(&launch.log_path, LOG_TAIL_BYTES);
                return Err(StartFailed { reason: reason.to_owned(), message, log_tail });
            }
        }
    }
    let last = squatter.map(|last| format!(" (last: {last})")).unwrap_or_default();
    let words = format!("{PORT_TRIES} ports in a row were taken by other processes while {} started{last}", launch.backend.name);
    Err(StartFailed { log_tail: log::tail(&launch.log_path, LOG_TAIL_BYTES), ..StartFailed::new(words) })
}

/// A server that already runs: checked, never started.
async fn attach(launch: &Launch, url: &str, deadline: Instant, cancel: &CancellationToken) -> Result<Service, StartFailed> {
    let base_url = ready::base_of(url);
    let probe = Probe::new(launch, base_url.clone()).map_err(StartFailed::new)?;
    let started = Instant::now();
    loop {
        if probe.healthy().await {
            let http_ready_s = started.elapsed().as_secs_f64();
            let dim = probe.first_vector(deadline).await.map_err(StartFailed::new)?;
            let cold_start = ColdStart { http_ready_s, first_vector_s: started.elapsed().as_secs_f64(), warm_cache: None };
            let Facts { versions, settings } = probe.facts().await;
            let report = ServiceReport {
                kind: launch.backend.kind.to_string(),
                command_line: Vec::new(),
                port: reqwest::Url::parse(&base_url).ok().and_then(|url| url.port_or_known_default()).unwrap_or(0),
                pid: None,
                url: base_url.clone(),
                device: inputs::device(&launch.backend).to_owned(),
                dtype: inputs::dtype(launch).as_str().to_owned(),
                cold_start,
                versions,
                settings,
            };
            return Ok(Service {
                report,
                base_url,
                model_name: launch.model.id.clone(),
                pid: None,
                embedding_dim: dim,
                key: KeySource::of(&launch.backend),
                request_fields: command::request_fields(launch.backend.kind),
                kills: None,
                kind: launch.backend.kind,
                log_path: launch.log_path.clone(),
                group: None,
            });
        }
        if Instant::now() >= deadline {
            return Err(StartFailed::new(format!("url: no server answered at {base_url} within startTimeout")));
        }
        tokio::select! {
            () = cancel.cancelled() => return Err(StartFailed { reason: INTERRUPTED.into(), ..StartFailed::new("cancelled") }),
            () = tokio::time::sleep(POLL * 5) => {}
        }
    }
}

/// One process group on one port.
struct Attempt<'a> {
    launch: &'a Launch,
    plan: Plan,
    port: u16,
    probe: Probe,
    started: Instant,
    kills: Option<u64>,
    group: Group,
}

struct Ready {
    cold_start: ColdStart,
    dim: usize,
    facts: Facts,
}

enum NotReady {
    /// By whom, where that can be seen.
    PortTaken(Option<String>),
    Failed {
        reason: &'static str,
        message: String,
    },
}

impl<'a> Attempt<'a> {
    fn start(launch: &'a Launch, plan: Plan, port: u16) -> Result<Self, StartFailed> {
        let probe = Probe::new(launch, format!("http://127.0.0.1:{port}")).map_err(StartFailed::new)?;
        let (started, kills) = (Instant::now(), memory::kills());
        let group = Group::spawn(&plan, &launch.log_path, launch.cores.clone()).map_err(StartFailed::new)?;
        info!(backend = launch.backend.name, pid = group.pid(), port, "service process started");
        Ok(Self { launch, plan, port, probe, started, kills, group })
    }

    async fn until_ready(&mut self, deadline: Instant, cancel: &CancellationToken) -> Result<Ready, NotReady> {
        let mut exit = self.group.exit();
        tokio::select! {
            () = cancel.cancelled() => Err(NotReady::Failed { reason: INTERRUPTED, message: "the start was cancelled".into() }),
            exit = exit.ended() => Err(self.died(exit)),
            ready = self.ready(deadline) => ready,
            () = tokio::time::sleep_until(deadline.into()) => {
                let limit = self.launch.backend.start_timeout;
                Err(NotReady::failed(format!("{} was not ready within its startTimeout of {limit}", self.launch.backend.name)))
            }
        }
    }

    /// Waits for the health route, sees that it is ours, asks for a vector. Ends only by success or by a wrong answer.
    async fn ready(&self, deadline: Instant) -> Result<Ready, NotReady> {
        while !self.probe.healthy().await {
            tokio::time::sleep(POLL).await;
        }
        let http_ready_s = self.started.elapsed().as_secs_f64();
        match port::owner(self.port, &self.group.members()) {
            Owner::Ours => {}
            Owner::Nobody => return Err(NotReady::PortTaken(None)),
            Owner::Stranger(who) => return Err(NotReady::PortTaken(Some(who))),
        }
        let dim = self.probe.first_vector(deadline).await.map_err(NotReady::failed)?;
        let first_vector_s = self.started.elapsed().as_secs_f64();
        let backend = &self.launch.backend;
        // What a command line of the user's own does with a device is the user's to know.
        if backend.command.is_none() {
            gpu::check(&backend.name, backend.device == Device::Cuda, &self.group.members()).map_err(NotReady::failed)?;
        }
        let mut facts = self.probe.facts().await;
        let packages = versions::of_python(&self.plan).await;
        facts.versions = self.plan.versions.clone().into_iter().chain(packages).chain(facts.versions).collect();
        Ok(Ready { cold_start: ColdStart { http_ready_s, first_vector_s, warm_cache: self.plan.warm_cache }, dim, facts })
    }

    fn died(&self, exit: Exit) -> NotReady {
        let tail = log::tail(&self.launch.log_path, LOG_TAIL_BYTES);
        if exit.code == Some(i32::from(crate::serve::EXIT_ADDRESS_IN_USE)) || log::says_address_in_use(&tail) {
            return NotReady::PortTaken(match port::owner(self.port, &[]) {
                Owner::Stranger(who) => Some(who),
                Owner::Nobody | Owner::Ours => None,
            });
        }
        let why = memory::diagnose(self.launch.backend.kind, &tail, Some(exit), new_kills(self.kills));
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        NotReady::failed(format!("{} ended with {exit} before it was ready{why}", self.launch.backend.name))
    }

    fn into_service(self, ready: Ready) -> Service {
        let pid = Some(self.group.pid());
        let base_url = format!("http://127.0.0.1:{}", self.port);
        Service {
            report: ServiceReport {
                kind: self.launch.backend.kind.to_string(),
                command_line: self.plan.command_line(),
                port: self.port,
                pid,
                url: base_url.clone(),
                device: inputs::device(&self.launch.backend).to_owned(),
                dtype: inputs::dtype(self.launch).as_str().to_owned(),
                cold_start: ready.cold_start,
                versions: ready.facts.versions,
                settings: ready.facts.settings,
            },
            base_url,
            model_name: self.launch.model.id.clone(),
            pid,
            embedding_dim: ready.dim,
            key: KeySource::default(),
            request_fields: command::request_fields(self.launch.backend.kind),
            kills: self.kills,
            kind: self.launch.backend.kind,
            log_path: self.launch.log_path.clone(),
            group: Some(self.group),
        }
    }
}

impl Service {
    /// The full address for requests of this form.
    pub fn endpoint(&self, wire: Wire) -> String {
        ready::endpoint(&self.base_url, wire)
    }

    /// Whether the process that was started is still there. A server that we only attached to counts as alive.
    pub fn alive(&mut self) -> bool {
        self.group.as_ref().is_none_or(Group::alive)
    }

    /// The end of the log, at most 8 KiB; empty for a server that we only attached to.
    pub fn log_tail(&self) -> String {
        if self.group.is_some() { log::tail(&self.log_path, LOG_TAIL_BYTES) } else { String::new() }
    }

    /// How a service that is no longer [`alive`](Self::alive) ended, in a sentence; with the knob to turn where memory ran out.
    pub fn ending(&self) -> String {
        let exit = self.group.as_ref().and_then(Group::ended);
        let how = exit.map_or_else(|| "the service ended".to_owned(), |exit| format!("the service ended with {exit}"));
        match memory::diagnose(self.kind, &self.log_tail(), exit, new_kills(self.kills)) {
            Some(why) => format!("{how}: {why}"),
            None => how,
        }
    }

    /// Whether memory ran out while the service lived on: what its log says, with the knob to turn.
    pub fn memory_trouble(&self) -> Option<String> {
        memory::diagnose(self.kind, &self.log_tail(), None, 0)
    }

    /// SIGTERM to the whole process group, SIGKILL to what is left of it after 15 s; returns when nothing is.
    pub async fn stop(mut self) -> StopReport {
        match self.group.take() {
            Some(group) => group.stop().await,
            None => StopReport::default(),
        }
    }
}

/// Kills by the kernel since then.
fn new_kills(before: Option<u64>) -> u64 {
    memory::kills().zip(before).map_or(0, |(now, before)| now.saturating_sub(before))
}

impl StartFailed {
    fn new(message: impl Into<String>) -> Self {
        Self { reason: START_FAILED.to_owned(), message: message.into(), log_tail: String::new() }
    }
}

impl NotReady {
    fn failed(message: impl Into<String>) -> Self {
        Self::Failed { reason: START_FAILED, message: message.into() }
    }
}
