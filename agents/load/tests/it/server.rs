//! A scripted embedding server (a fake, for these tests): real HTTP, one thread, and an answer chosen by a function.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_web::web::{Bytes, Data, PayloadConfig};
use actix_web::{App, HttpResponse, HttpServer, web};
use futures_util::StreamExt;

pub(crate) enum Reply {
    /// As many vectors as texts, of this dimension.
    Vectors(usize),
    After(Duration, Box<Reply>),
    Raw(u16, String),
    /// A body that breaks off.
    BrokenBody,
    /// Vectors for who carries this bearer token; others are told what they carried, as some servers do.
    Protected(&'static str),
}

type Script = dyn Fn(u64) -> Reply + Send + Sync;

pub(crate) struct Server {
    pub(crate) url: String,
    state: Data<State>,
    handle: actix_web::dev::ServerHandle,
}

struct State {
    script: Box<Script>,
    arrivals: AtomicU64,
    in_flight: AtomicU64,
    max_in_flight: AtomicU64,
    requests: Mutex<Vec<Vec<String>>>,
}

impl Server {
    /// `script` gets the number of the request in order of arrival, from 0.
    pub(crate) fn start(script: impl Fn(u64) -> Reply + Send + Sync + 'static) -> Self {
        let state = Data::new(State {
            script: Box::new(script),
            arrivals: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            max_in_flight: AtomicU64::new(0),
            requests: Mutex::new(Vec::new()),
        });
        let (sender, receiver) = std::sync::mpsc::channel();
        let shared = state.clone();
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = HttpServer::new(move || {
                    App::new().app_data(shared.clone()).app_data(PayloadConfig::new(1 << 24)).default_service(web::to(answer))
                })
                .workers(1)
                .disable_signals()
                .shutdown_timeout(0)
                .bind(("127.0.0.1", 0))
                .expect("a free port");
                let port = server.addrs()[0].port();
                let server = server.run();
                sender.send((port, server.handle())).expect("the test waits");
                server.await.expect("serving");
            });
        });
        let (port, handle) = receiver.recv().expect("the server started");
        Self { url: format!("http://127.0.0.1:{port}/v1/embeddings"), state, handle }
    }

    pub(crate) fn arrivals(&self) -> u64 {
        self.state.arrivals.load(Ordering::SeqCst)
    }

    pub(crate) fn max_in_flight(&self) -> u64 {
        self.state.max_in_flight.load(Ordering::SeqCst)
    }

    /// The texts of each request, in order of arrival.
    pub(crate) fn requests(&self) -> Vec<Vec<String>> {
        self.state.requests.lock().expect("no panic in the server").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

async fn answer(state: Data<State>, request: actix_web::HttpRequest, body: Bytes) -> HttpResponse {
    let carried = request.headers().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let number = state.arrivals.fetch_add(1, Ordering::SeqCst);
    let now = state.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
    state.max_in_flight.fetch_max(now, Ordering::SeqCst);
    let request: serde_json::Value = serde_json::from_slice(&body).expect("a request is JSON");
    let texts: Vec<String> = serde_json::from_value(request["input"].clone()).expect("a request has its texts");
    let count = texts.len();
    state.requests.lock().expect("no panic in the server").push(texts);
    let response = match (state.script)(number) {
        Reply::Protected(token) if carried == format!("Bearer {token}") => json(200, vectors(count, 4)),
        Reply::Protected(_) => json(401, format!("wrong key: {carried}")),
        other => reply(other, count).await,
    };
    state.in_flight.fetch_sub(1, Ordering::SeqCst);
    response
}

async fn reply(reply: Reply, count: usize) -> HttpResponse {
    match reply {
        Reply::Vectors(dim) => json(200, vectors(count, dim)),
        Reply::After(time, then) => {
            actix_web::rt::time::sleep(time).await;
            Box::pin(self::reply(*then, count)).await
        }
        Reply::Raw(status, body) => json(status, body),
        Reply::Protected(_) => unreachable!("answered by the caller, who knows the header"),
        Reply::BrokenBody => {
            let (begin, broken) = (Bytes::from_static(b"{\"data\":["), std::io::ErrorKind::BrokenPipe);
            // The pause lets the beginning out before the end is found broken.
            let parts = futures_util::stream::once(async move { Ok(begin) }).chain(futures_util::stream::once(async move {
                actix_web::rt::time::sleep(Duration::from_millis(50)).await;
                Err::<Bytes, std::io::Error>(broken.into())
            }));
            HttpResponse::Ok().streaming(Box::pin(parts))
        }
    }
}

fn json(status: u16, body: String) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(status).expect("a status");
    HttpResponse::build(status).content_type("application/json").body(body)
}

pub(crate) fn vectors(count: usize, dim: usize) -> String {
    let numbers = vec!["0.25"; dim].join(",");
    let items: Vec<String> =
        (0..count).map(|index| format!(r#"{{"object":"embedding","index":{index},"embedding":[{numbers}]}}"#)).collect();
    format!(r#"{{"object":"list","data":[{}],"model":"m","usage":{{"prompt_tokens":1,"total_tokens":1}}}}"#, items.join(","))
}
