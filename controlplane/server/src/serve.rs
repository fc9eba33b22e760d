//! One server process: lock the state, open the store, bind, reconcile, serve, and stop in order when asked to.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::dev::{Server, ServerHandle};
use anyhow::Context;
use em_api::HumanDuration;
use em_slurm::Scheduler;
use jiff::SignedDuration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::cluster;
use crate::config::{ADMIN_TOKEN, HINT_TOKEN, SCRAPER_TOKEN, SERVER_FILE, ServerFile, Settings, StateDir};
use crate::hints::Hints;
use crate::housekeeping;
use crate::http;
use crate::job::JobSettings;
use crate::metrics::Metrics;
use crate::notify::Sender;
use crate::reconcile::world::Knobs;
use crate::reconcile::{self, Notices, Reconciler, Timing};
use crate::store::access::{Principal, Role, new_secret};
use crate::store::{Store, now};
use crate::supervise::supervise;

/// A server that answers. Dropping it without [`Running::stop`] is like a crash: the next start goes on.
pub struct Running {
    url: String,
    state: StateDir,
    store: Store,
    stop: CancellationToken,
    servers: Vec<(ServerHandle, JoinHandle<std::io::Result<()>>)>,
    reconciler: JoinHandle<()>,
    /// What may be left where it stands.
    background: Vec<JoinHandle<()>>,
}

/// Starts a server; returns when it answers.
pub async fn start(settings: &Settings, scheduler: Arc<dyn Scheduler>) -> anyhow::Result<Running> {
    let state = StateDir::open(&settings.state_dir)?;
    make_job_dir(&settings.job_dir).with_context(|| format!("using the job directory {}", settings.job_dir.display()))?;
    let metrics = Metrics::new();
    let database = settings.database.clone().unwrap_or_else(|| Store::sqlite_url(state.path()));
    let store = Store::open(&database, metrics.db_commit_seconds.clone()).await.context("opening the database")?;
    known_database(&state, &store)?;
    let owner = user_name();
    first_tokens(&state, &store, &owner).await?;

    let main = bind(settings.listen, state.last_port()).with_context(|| format!("listening on {}", settings.listen))?;
    let agent = settings
        .agent_listen
        .map(|address| TcpListener::bind(address).with_context(|| format!("listening on {address}")))
        .transpose()?;
    let url = web_address(main.local_addr()?);
    let agent_url = agent.as_ref().map(TcpListener::local_addr).transpose()?.map(web_address);
    let advertise = settings.advertise.clone().or(agent_url).unwrap_or_else(|| url.clone());
    let jobs = JobSettings {
        job_dir: settings.job_dir.clone(),
        store_dir: settings.store_dir.clone(),
        agent: settings.agent.clone(),
        advertise,
        claim_timeout: HumanDuration(settings.claim_timeout),
    };
    let stop = CancellationToken::new();
    let app = http::App::new(store.clone(), metrics.clone(), jobs.clone(), main.local_addr()?, stop.clone());
    let (hints, (keeper, cluster)) = (Hints::default(), cluster::channel());
    let app = app.with_slurm(cluster, hints.clone());
    let mut servers = Vec::new();
    if let Some(agent) = agent {
        servers.push(spawned(http::agent_server(app.clone(), agent).context("starting the agents' listener")?));
    }
    servers.push(spawned(http::server(app, main).context("starting the listener")?));
    let (knobs, timing) = (knobs(settings), timing(settings));
    let looks = {
        let (keeper, scheduler, metrics, stop) = (Arc::new(keeper), scheduler.clone(), metrics.clone(), stop.clone());
        move || reconcile::keep_cluster(keeper.clone(), scheduler.clone(), metrics.clone(), stop.clone())
    };
    let looks = supervise("cluster", metrics.clone(), stop.clone(), looks);
    let news = Arc::new(Notify::new());
    let base = settings.advertise.clone().unwrap_or_else(|| url.clone());
    let notices = settings.webhook.is_some().then(|| Notices { base, news: news.clone() });
    let reconciler = Reconciler::new(store.clone(), scheduler, jobs, knobs, timing, metrics.clone());
    let reconciler = Arc::new(reconciler.with_hints(hints).with_notices(notices));
    let mut background = vec![looks];
    if let Some(webhook) = settings.webhook.clone() {
        let sender = Sender::new(store.clone(), webhook, metrics.clone(), news).context("setting up the webhook")?;
        let (sender, until) = (Arc::new(sender), stop.clone());
        background.push(supervise("notifications", metrics.clone(), stop.clone(), move || {
            let (sender, until) = (sender.clone(), until.clone());
            async move { sender.run(until).await }
        }));
    }
    let (cleaner, until) = (reconciler.clone(), stop.clone());
    background.push(supervise("cleanup", metrics.clone(), stop.clone(), move || {
        let (cleaner, until) = (cleaner.clone(), until.clone());
        async move { cleaner.clean(until).await }
    }));
    let (kept, history, until) = (store.clone(), settings.watch_history, stop.clone());
    background.push(supervise("housekeeping", metrics.clone(), stop.clone(), move || {
        housekeeping::run(kept.clone(), history, until.clone())
    }));
    let until = stop.clone();
    let reconciler = supervise("reconciler", metrics, stop.clone(), move || {
        let (reconciler, until) = (reconciler.clone(), until.clone());
        async move { reconciler.run(until).await }
    });
    announce(&state, &url, store.server8())?;
    info!(url, server8 = store.server8(), "the control plane answers at {url}");
    Ok(Running { url, state, store, stop, servers, reconciler, background })
}

impl Running {
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn state_dir(&self) -> &std::path::Path {
        self.state.path()
    }

    /// Listeners first, then the reconciler's action at hand; jobs stay.
    pub async fn stop(self) {
        self.stop.cancel();
        for (handle, task) in self.servers {
            handle.stop(true).await;
            if let Ok(Err(error)) = task.await {
                tracing::warn!(%error, "a listener ended badly");
            }
        }
        if let Err(error) = self.reconciler.await {
            tracing::error!(%error, "the reconciler ended badly");
        }
        // They end by the token too; what they are at is done again at the next start, or is of no more use.
        for task in self.background {
            task.abort();
        }
        self.store.close().await;
    }

    /// Resolves when the reconciler has ended for good, which it never should: a run of it that panics is started again.
    pub async fn broken(&mut self) {
        let ended = (&mut self.reconciler).await;
        tracing::error!(
            panicked = ended.is_err(),
            "the reconciler has ended; the process stops so that a supervisor starts it anew"
        );
    }
}

fn spawned(server: Server) -> (ServerHandle, JoinHandle<std::io::Result<()>>) {
    (server.handle(), tokio::spawn(server))
}

/// Binds. Port 0: the port of the last start, when it is free, else any: agents of running jobs have the old address.
fn bind(address: SocketAddr, last_port: Option<u16>) -> std::io::Result<TcpListener> {
    if address.port() == 0
        && let Some(port) = last_port
        && let Ok(listener) = TcpListener::bind(SocketAddr::new(address.ip(), port))
    {
        return Ok(listener);
    }
    TcpListener::bind(address)
}

/// A database that was lost or changed for another is no first start: its jobs would run on, and nobody would know them.
fn known_database(state: &StateDir, store: &Store) -> anyhow::Result<()> {
    let last = state.last().and_then(|last| last.server8);
    if let Some(last) = last.filter(|last| last != store.server8()) {
        let file = state.path().join(SERVER_FILE);
        anyhow::bail!(
            "the database (server {}) is not the one that {} was used with (server {last}): it was lost, emptied or changed. Jobs named em-{last}-… \
             would be left to themselves. Bring the database back (em.db together with em.db-wal), or remove {} to begin anew",
            store.server8(),
            state.path().display(),
            file.display()
        );
    }
    Ok(())
}

/// The first start's tokens. A file that is lost is made again, with a new token.
async fn first_tokens(state: &StateDir, store: &Store, owner: &str) -> anyhow::Result<()> {
    for (file, role) in [(ADMIN_TOKEN, Role::Admin), (SCRAPER_TOKEN, Role::Scraper), (HINT_TOKEN, Role::Hint)] {
        let secret = match state.secret(file)? {
            Some(secret) => secret,
            None => {
                let secret = new_secret("em");
                state.write(file, &format!("{secret}\n"))?;
                secret
            }
        };
        store.add_token(&secret, &Principal { owner: owner.to_owned(), role }).await?;
    }
    Ok(())
}

/// What `emctl` reads.
fn announce(state: &StateDir, url: &str, server8: &str) -> anyhow::Result<()> {
    let token_file = state.path().join(ADMIN_TOKEN).to_string_lossy().into_owned();
    let file = ServerFile { url: url.to_owned(), token_file, pid: std::process::id(), server8: Some(server8.to_owned()) };
    Ok(state.write(SERVER_FILE, &serde_json::to_string_pretty(&file)?)?)
}

/// Makes it where it is missing, for our account only.
pub(crate) fn make_job_dir(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn web_address(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// The account that runs us; Slurm names jobs' owners in the same way.
pub(crate) fn user_name() -> String {
    let uid = rustix::process::getuid().as_raw();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entry = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2).and_then(|field| field.parse::<u32>().ok()) == Some(uid));
    match entry {
        Some(fields) => fields[0].to_owned(),
        // Accounts of a directory service are not in the file.
        None => std::env::var("USER").unwrap_or_else(|_| uid.to_string()),
    }
}

fn knobs(settings: &Settings) -> Knobs {
    let signed = |duration| SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    Knobs {
        settle: signed(settings.settle_time),
        missing_grace: signed(settings.missing_grace),
        agent_silent_after: signed(settings.agent_silent_after),
        backoff: signed(settings.retry_backoff),
        collect_grace: signed(settings.collect_grace),
        cancel_again: SignedDuration::from_secs(30),
        awake_since: now(),
        limits: settings.limits.clone(),
    }
}

fn timing(settings: &Settings) -> Timing {
    Timing {
        poll_interval: settings.poll_interval,
        fast_poll_interval: settings.fast_poll_interval,
        reads_per_minute: settings.slurm_reads_per_minute,
        submit_per_second: settings.submit_rate,
        submit_burst: f64::from(settings.submit_burst),
        submit_at_once: Timing::default().submit_at_once,
        limit_pause: settings.limit_pause,
        disk_deadline: settings.job_dir_timeout,
        cleanup_interval: settings.poll_interval * 2,
    }
}
