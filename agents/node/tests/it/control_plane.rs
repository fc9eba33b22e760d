//! A FAKE control plane: it scripts the three agent routes and keeps what it was told. It judges nothing that the real one
//! computes; it is here so that the real agent can be seen from outside, with the server away, late or saying no.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use em_api::TrialId;
use em_api::agent::{ClaimAnswer, ClaimRequest, Directive, Record, RecordAnswer, RecordBatch, RecordBody};
use em_api::measurement::Measurement;
use em_api::problem::{CONTENT_TYPE, Problem};

pub(crate) const TOKEN: &str = "token-of-the-attempt";

pub(crate) struct ControlPlane {
    state: Arc<Mutex<State>>,
    pub(crate) port: u16,
    handle: ServerHandle,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) claims: Vec<ClaimRequest>,
    /// By (epoch, seq).
    pub(crate) records: BTreeMap<(u32, u64), Record>,
    /// Posts, empty ones included.
    pub(crate) posts: usize,
    /// Raw bodies in order of arrival.
    pub(crate) measurements: Vec<(TrialId, Vec<u8>)>,
    /// Things that a real server would have to refuse.
    pub(crate) violations: Vec<String>,
    /// What claims are answered with instead of a grant: the code of a 409.
    pub(crate) refuse_claims: Option<&'static str>,
    /// Given in answers to posts from the moment that this many measuring samples have arrived.
    pub(crate) directive_after_samples: Option<(usize, Directive)>,
}

/// A port that is free now, for a server that appears later.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl ControlPlane {
    pub(crate) fn start() -> Self {
        Self::start_on(0, State::default())
    }

    pub(crate) fn start_on(port: u16, state: State) -> Self {
        let state = Arc::new(Mutex::new(state));
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
        let port = listener.local_addr().unwrap().port();
        let shared = web::Data::from(Arc::clone(&state));
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let app = move || {
                    App::new()
                        .app_data(shared.clone())
                        .app_data(web::JsonConfig::default().limit(32 << 20))
                        .app_data(web::PayloadConfig::new(32 << 20))
                        .route("/agent/attempts/{id}/claim", web::post().to(claim))
                        .route("/agent/attempts/{id}/records", web::post().to(records))
                        .route("/agent/attempts/{id}/trials/{trial}/measurement", web::put().to(measurement))
                };
                let server = HttpServer::new(app).workers(1).disable_signals().listen(listener).unwrap().run();
                send.send(server.handle()).unwrap();
                server.await.unwrap();
            });
        });
        Self { state, port, handle: receive.recv().unwrap() }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // The server stops on its own thread; the test need not wait for it.
        drop(self.handle.stop(false));
    }
}

impl State {
    pub(crate) fn bodies(&self) -> Vec<RecordBody> {
        self.records.values().map(|record| record.body.clone()).collect()
    }

    pub(crate) fn measured(&self) -> Vec<Measurement> {
        self.measurements.iter().map(|(_, json)| serde_json::from_slice(json).unwrap()).collect()
    }

    pub(crate) fn samples(&self) -> usize {
        self.records.values().filter(|record| matches!(record.body, RecordBody::Sample(_))).count()
    }

    fn directive(&self) -> Directive {
        match self.directive_after_samples {
            Some((samples, directive)) if self.samples() >= samples => directive,
            _ => Directive::Continue,
        }
    }
}

type Shared = web::Data<Mutex<State>>;

fn authorised(request: &HttpRequest, state: &mut State) {
    let expected = format!("Bearer {TOKEN}");
    if request.headers().get("authorization").and_then(|value| value.to_str().ok()) != Some(expected.as_str()) {
        state.violations.push(format!("{} without the token", request.path()));
    }
}

fn conflict(code: &str) -> HttpResponse {
    let problem = Problem::new(409, code, "Conflict", format!("scripted: {code}"));
    HttpResponse::Conflict().content_type(CONTENT_TYPE).json(problem)
}

async fn claim(http: HttpRequest, state: Shared, body: web::Json<ClaimRequest>) -> HttpResponse {
    let mut state = state.lock().unwrap();
    authorised(&http, &mut state);
    let request = body.into_inner();
    let epoch = request.restart_count;
    state.claims.push(request);
    match state.refuse_claims {
        Some(code) => conflict(code),
        None => HttpResponse::Ok().json(ClaimAnswer { epoch, directive: Directive::Continue }),
    }
}

async fn records(http: HttpRequest, state: Shared, body: web::Json<RecordBatch>) -> HttpResponse {
    let mut state = state.lock().unwrap();
    authorised(&http, &mut state);
    state.posts += 1;
    let batch = body.into_inner();
    for record in batch.records {
        let before = state.records.insert((batch.epoch, record.seq), record.clone());
        if before.as_ref().is_some_and(|before| *before != record) {
            state.violations.push(format!("record {} came with two bodies", record.seq));
        }
    }
    HttpResponse::Ok().json(RecordAnswer { directive: state.directive() })
}

async fn measurement(http: HttpRequest, state: Shared, path: web::Path<(String, TrialId)>, body: web::Bytes) -> HttpResponse {
    let mut state = state.lock().unwrap();
    authorised(&http, &mut state);
    let trial = path.into_inner().1;
    match state.measurements.iter().find(|(id, _)| *id == trial) {
        Some((_, before)) if *before == body => return HttpResponse::Ok().finish(),
        Some(_) => return conflict("conflict"),
        None => {}
    }
    state.measurements.push((trial, body.to_vec()));
    HttpResponse::Created().finish()
}
