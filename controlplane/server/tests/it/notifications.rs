//! The webhook is told of ends: signed, again until it is taken, over restarts, and of nothing else. A real HTTP server receives.

use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use em_api::notification::{DELIVERY_HEADER, Notification, SIGNATURE_HEADER, TIMESTAMP_HEADER};
use em_api::spec::Desired;
use em_api::status::Phase;
use em_controlplane::config::Settings;
use em_controlplane::notify::{Secret, Webhook};
use em_slurm::JobState;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Runtime;

use crate::agent::Agent;
use crate::server::{Server, body, settings};

const SECRET: &str = "It's a Secret to Everybody";

#[derive(Clone, Debug)]
struct Received {
    delivery: String,
    timestamp: String,
    signature: String,
    body: String,
    taken: bool,
}

#[derive(Default)]
struct Inner {
    received: Vec<Received>,
    failures: u32,
}

/// Refuses the first requests, as told, then takes all.
struct Receiver {
    inner: Arc<Mutex<Inner>>,
    runtime: Runtime,
    address: std::net::SocketAddr,
}

impl Receiver {
    fn start(failures: u32) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), failures)
    }

    fn on(listener: TcpListener, failures: u32) -> Self {
        let inner = Arc::new(Mutex::new(Inner { failures, ..Inner::default() }));
        let (runtime, address, shared) = (Runtime::new().unwrap(), listener.local_addr().unwrap(), Data::from(inner.clone()));
        let app = move || App::new().app_data(shared.clone()).default_service(web::post().to(receive));
        runtime.block_on(async {
            tokio::spawn(HttpServer::new(app).workers(1).disable_signals().listen(listener).unwrap().run());
        });
        Self { inner, runtime, address }
    }

    fn received(&self) -> Vec<Received> {
        self.inner.lock().unwrap().received.clone()
    }

    /// Waits until so many were taken.
    fn until_taken(&self, count: usize) -> Vec<(Received, Notification)> {
        let begin = Instant::now();
        loop {
            let taken: Vec<Received> = self.received().into_iter().filter(|one| one.taken).collect();
            if taken.len() >= count {
                return taken.into_iter().map(|one| (one.clone(), serde_json::from_str(&one.body).unwrap())).collect();
            }
            assert!(begin.elapsed().as_secs() < 30, "{count} notifications within 30 s: {:?}", self.received());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn stop(self) -> std::net::SocketAddr {
        self.runtime.shutdown_background();
        self.address
    }
}

async fn receive(request: HttpRequest, inner: Data<Mutex<Inner>>, body: Bytes) -> HttpResponse {
    let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    let mut inner = inner.lock().unwrap();
    let taken = inner.failures == 0;
    inner.failures = inner.failures.saturating_sub(1);
    inner.received.push(Received {
        delivery: header(DELIVERY_HEADER),
        timestamp: header(TIMESTAMP_HEADER),
        signature: header(SIGNATURE_HEADER),
        body: String::from_utf8(body.to_vec()).unwrap(),
        taken,
    });
    if taken { HttpResponse::NoContent().finish() } else { HttpResponse::BadGateway().body("not now") }
}

/// HMAC by its definition (RFC 2104), as a receiver would check it.
fn hmac(secret: &str, text: &str) -> String {
    let mut key = [0_u8; 64];
    key[..secret.len()].copy_from_slice(secret.as_bytes());
    let inner = Sha256::new().chain_update(key.map(|byte| byte ^ 0x36)).chain_update(text).finalize();
    hex::encode(Sha256::new().chain_update(key.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize())
}

fn with_webhook(folder: &Path) -> Settings {
    let url = std::fs::read_to_string(folder.join("webhook-url")).unwrap().parse().unwrap();
    let secret = Secret::read(&folder.join("webhook-secret")).unwrap();
    let webhook = Webhook { url, secret, first_pause: Duration::from_millis(100) };
    Settings { webhook: Some(webhook), ..settings(folder) }
}

fn server(address: std::net::SocketAddr) -> Server {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("webhook-url"), format!("http://{address}/hook?key=1")).unwrap();
    let secret = folder.path().join("webhook-secret");
    std::fs::write(&secret, SECRET).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    Server::start_in(folder, with_webhook, |_| {})
}

fn cancelled(server: &Server, name: &str) {
    server.create(&body(name));
    server.calls.block_on(server.client.set_desired(name, Desired::Cancelled)).unwrap();
    server.until_phase(name, Phase::Cancelled);
}

#[test]
fn an_end_is_told_signed_and_again_until_it_is_taken() {
    let receiver = Receiver::start(2);
    let server = server(receiver.address);
    let created = server.create(&body("told"));
    server.until_phase("told", Phase::Queued);
    server.create(&body("runs-on"));
    server.until_phase("runs-on", Phase::Queued);
    let agent = Agent::of(&server, 0);
    agent.claim("1", "n", 0).unwrap();
    agent.hand_in(&agent.trials());
    server.slurm.set("1", JobState::Completed);
    let done = server.until_phase("told", Phase::Succeeded);
    let (received, told) = receiver.until_taken(1).remove(0);
    assert_eq!((told.experiment.name.as_str(), told.experiment.uid), ("told", created.metadata.uid));
    assert_eq!((told.event.as_str(), told.phase, told.trials), ("experiment.ended", Phase::Succeeded, done.status.trials));
    assert_eq!((told.started_at, told.finished_at), (done.status.started_at, done.status.finished_at));
    assert_eq!(told.link, format!("{}/ui/#/experiments/told", server.url));
    assert_eq!(told.id, received.delivery);
    assert_eq!(received.signature, format!("sha256={}", hmac(SECRET, &format!("{}.{}", received.timestamp, received.body))));
    let age = em_api::Timestamp::now().as_second() - received.timestamp.parse::<i64>().unwrap();
    assert!((0..60).contains(&age), "of this sending");
    let all = receiver.received();
    assert_eq!(all.len(), 3, "refused twice, then taken, then never again");
    assert!(all.iter().all(|one| one.delivery == received.delivery && one.body == received.body), "the same each time");
    assert_eq!(server.metric("em_notifications_total{outcome=\"failed\"}"), 2.0);
    assert_eq!(server.metric("em_notifications_total{outcome=\"delivered\"}"), 1.0);
}

#[test]
fn ends_while_the_receiver_is_away_are_told_after_a_restart_each_once() {
    let address = Receiver::start(0).stop();
    let mut server = server(address);
    for name in ["one", "two", "three"] {
        cancelled(&server, name);
    }
    server.create(&body("lives"));
    server.until_phase("lives", Phase::Queued);
    server.calls.block_on(server.client.delete_experiment("two")).unwrap();
    server.crash();
    let begin = Instant::now();
    let listener = loop {
        match TcpListener::bind(address) {
            Ok(listener) => break listener,
            Err(error) => assert!(begin.elapsed().as_secs() < 30, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let receiver = Receiver::on(listener, 0);
    server.restart();
    let mut names: Vec<String> = receiver.until_taken(3).into_iter().map(|(_, told)| told.experiment.name).collect();
    names.sort();
    assert_eq!(names, ["one", "three", "two"], "a deleted one too");
    cancelled(&server, "four");
    let told = receiver.until_taken(4);
    assert_eq!(told.len(), 4);
    let mut ids: Vec<_> = told.iter().map(|(received, _)| received.delivery.clone()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4);
    let waits = Instant::now();
    while server.metric("em_notifications_pending") > 0.0 {
        assert!(waits.elapsed().as_secs() < 30, "none is left");
        std::thread::sleep(Duration::from_millis(20));
    }
}
