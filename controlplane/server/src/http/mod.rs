//! REST, streams and the dashboard. Everything here reads and writes the database; nothing here calls Slurm. `access` says who
//! may come in, `problem` how a refusal looks, and one file a group of addresses does the rest.
//!
//! `main` uses it so:
//! ```text
//! let listener = std::net::TcpListener::bind(settings.listen)?;
//! let app = http::App::new(store, metrics, jobs, listener.local_addr()?, stop.clone()); // stop: CancellationToken
//! let server = http::server(app.clone(), listener)?;      // a future, `Send`; runs until stopped
//! let agents = http::agent_server(app, agent_listener)?;  // only where --agent-listen is set
//! // To stop: `stop.cancel()` ends the streams, then `server.handle().stop(true).await`.
//! ```

mod access;
mod agent;
mod capsule;
mod cluster;
mod cursor;
mod dry_run;
mod events;
mod experiments;
mod gate;
mod head;
mod health;
mod idempotency;
mod import;
mod logs;
mod name;
mod observe;
mod openapi;
mod pages;
mod parts;
mod patch;
mod preconditions;
mod problem;
mod report;
mod results;
mod scrape;
mod selector;
mod sessions;
mod stalled;
mod stream;
mod watch;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpServer};
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::hints::Hints;
use crate::job::JobSettings;
use crate::metrics::Metrics;
use crate::store::Store;
use stalled::LONGEST_STALL;

/// What the handlers share. Cheap to clone.
#[derive(Clone)]
pub struct App {
    store: Store,
    metrics: Metrics,
    jobs: Arc<JobSettings>,
    /// Of the session; with our port, because browsers keep one set of cookies for all ports of a host.
    cookie: Arc<str>,
    stop: CancellationToken,
    cache: Arc<results::Cache>,
    in_flight: Arc<idempotency::InFlight>,
    readiness: Arc<health::Readiness>,
    longest_stall: Duration,
    cluster: Cluster,
    hints: Hints,
}

/// Requests are short, and plots are drawn on threads of their own.
const WORKERS: usize = 2;
/// An orderly stop waits so long for answers that are under way.
const SHUTDOWN_SECONDS: u64 = 5;

impl App {
    /// `address`: where the listener listens. `stop`: when cancelled, streams end.
    pub fn new(store: Store, metrics: Metrics, jobs: JobSettings, address: SocketAddr, stop: CancellationToken) -> Self {
        let cookie = format!("em_session_{}", address.port()).into();
        Self {
            store,
            metrics,
            jobs: Arc::new(jobs),
            cookie,
            stop,
            cache: Arc::default(),
            in_flight: Arc::default(),
            readiness: Arc::default(),
            longest_stall: LONGEST_STALL,
            cluster: Cluster::default(),
            hints: Hints::default(),
        }
    }

    /// Shares what the reconciler's side learns of the cluster, and the hints that it follows.
    #[must_use]
    pub fn with_slurm(self, cluster: Cluster, hints: Hints) -> Self {
        Self { cluster, hints, ..self }
    }

    /// How long a connection may take nothing of its answer before it is closed.
    #[must_use]
    pub fn with_longest_stall(self, longest_stall: Duration) -> Self {
        Self { longest_stall, ..self }
    }

    fn of(request: &HttpRequest) -> &Self {
        request.app_data::<web::Data<Self>>().expect("server() and agent_server() set it")
    }
}

/// Serves everything.
pub fn server(app: App, listener: TcpListener) -> io::Result<Server> {
    let bound = stalled::bound(app.longest_stall);
    let app = web::Data::new(app);
    let make = move || actix_web::App::new().app_data(app.clone()).configure(all).wrap(from_fn(observe::observe));
    Ok(HttpServer::new(make)
        .on_connect(bound)
        .workers(WORKERS)
        .disable_signals()
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .listen(listener)?
        .run())
}

/// Serves agents only.
pub fn agent_server(app: App, listener: TcpListener) -> io::Result<Server> {
    let bound = stalled::bound(app.longest_stall);
    let app = web::Data::new(app);
    let make = move || {
        actix_web::App::new().app_data(app.clone()).configure(basics).configure(agent::routes).wrap(from_fn(observe::observe))
    };
    Ok(HttpServer::new(make)
        .on_connect(bound)
        .workers(1)
        .disable_signals()
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .listen(listener)?
        .run())
}

fn all(config: &mut ServiceConfig) {
    config
        .configure(basics)
        .configure(pages::routes)
        .configure(openapi::routes)
        .configure(health::routes)
        .configure(scrape::routes)
        .configure(sessions::routes)
        .configure(agent::routes)
        .configure(cluster::routes)
        .configure(experiments::routes)
        .configure(import::routes);
}

fn basics(config: &mut ServiceConfig) {
    config.app_data(problem::path_config()).app_data(problem::query_config()).app_data(problem::json_config(64 * 1024));
}
