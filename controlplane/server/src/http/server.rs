//! The listening sockets: bound first, so that the address is known, served when everything else is ready.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::middleware::from_fn;
use actix_web::{App as ActixApp, HttpServer, web};
use tokio::task::JoinHandle;

use super::problem::observe_and_normalise;
use super::{App, LARGEST_BODY, agents, guarded, people};

/// Worker threads; handlers wait for the database, they do not compute.
const WORKERS: usize = 2;
/// How long requests may take to end at shutdown; streams end at once.
const SHUTDOWN_S: u64 = 3;
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// Binds. Port 0: the port of the last start, when it is free, else any: agents of running jobs have the old address.
pub fn bind(address: SocketAddr, last_port: Option<u16>) -> io::Result<TcpListener> {
    if address.port() == 0
        && let Some(port) = last_port
        && let Ok(listener) = TcpListener::bind(SocketAddr::new(address.ip(), port))
    {
        return Ok(listener);
    }
    TcpListener::bind(address)
}

/// Running servers.
pub struct HttpServers {
    handles: Vec<ServerHandle>,
    tasks: Vec<JoinHandle<io::Result<()>>>,
}

impl HttpServers {
    /// Serves everything on `main`, and only the agents' routes on `agent`.
    pub fn start(app: &App, main: TcpListener, agent: Option<TcpListener>) -> io::Result<Self> {
        let mut servers = Self { handles: Vec::new(), tasks: Vec::new() };
        servers.run(all_routes(app.clone(), main)?);
        if let Some(agent) = agent {
            servers.run(agent_routes(app.clone(), agent)?);
        }
        Ok(servers)
    }

    fn run(&mut self, server: Server) {
        self.handles.push(server.handle());
        self.tasks.push(tokio::spawn(server));
    }

    /// Stops listening, lets requests end, and returns when the workers are gone.
    pub async fn stop(self) {
        for handle in &self.handles {
            handle.stop(true).await;
        }
        for task in self.tasks {
            if let Ok(Err(error)) = task.await {
                tracing::warn!(%error, "a listener ended badly");
            }
        }
    }
}

fn all_routes(app: App, listener: TcpListener) -> io::Result<Server> {
    let server = HttpServer::new(move || {
        ActixApp::new()
            .app_data(web::Data::new(app.clone()))
            .app_data(web::PayloadConfig::new(LARGEST_BODY))
            .app_data(web::JsonConfig::default().limit(LARGEST_BODY))
            .wrap(from_fn(observe_and_normalise))
            .configure(people)
            .configure(agents)
            .configure(guarded)
    });
    let server = server.workers(WORKERS).disable_signals().shutdown_timeout(SHUTDOWN_S).client_request_timeout(HEAD_TIMEOUT);
    Ok(server.listen(listener)?.run())
}

fn agent_routes(app: App, listener: TcpListener) -> io::Result<Server> {
    let server = HttpServer::new(move || {
        ActixApp::new()
            .app_data(web::Data::new(app.clone()))
            .app_data(web::PayloadConfig::new(LARGEST_BODY))
            .wrap(from_fn(observe_and_normalise))
            .configure(agents)
    });
    let server = server.workers(WORKERS).disable_signals().shutdown_timeout(SHUTDOWN_S).client_request_timeout(HEAD_TIMEOUT);
    Ok(server.listen(listener)?.run())
}
