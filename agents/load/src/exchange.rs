//! One request and its answer: the end's time stamp, taken at the last byte, and what came. Whether an answer is right is found out
//! elsewhere (`checker`), so that no check is near a request.

use std::error::Error;
use std::time::{Duration, Instant};

use bytes::Bytes;
use em_api::spec::Wire;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method, Request, Url};
use serde_json::{Map, Value};

use crate::wire;
use crate::{Key, LoadError};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Valid { dim: u32 },
    Refused,
    TimedOut,
    Status(u16),
    WrongShape,
    NotFinite,
    WrongNorm,
    Other,
}

impl Outcome {
    /// The word of it in a file of requests.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Valid { .. } => "ok",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::Status(_) => "http_status",
            Self::WrongShape => "wrong_shape",
            Self::NotFinite => "not_finite",
            Self::WrongNorm => "wrong_norm",
            Self::Other => "other",
        }
    }
}

pub(crate) struct Exchanged {
    pub(crate) ended: Instant,
    pub(crate) answer: Answer,
}

pub(crate) enum Answer {
    /// With a status of success; whole.
    Body(Bytes),
    Fault {
        outcome: Outcome,
        bytes: u64,
        /// What went wrong, for people.
        fault: String,
    },
}

/// A client that measures the server and nothing else: HTTP/1.1 as all backends speak it, no compression (Goose switches it on
/// for every client of the build), no delayed packets, no proxy of the environment, no redirects.
pub(crate) fn client(key: Option<&Key>) -> Result<Client, LoadError> {
    Client::builder()
        .default_headers(key.map(Key::headers).unwrap_or_default())
        .http1_only()
        .no_gzip()
        .tcp_nodelay(true)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(usize::MAX)
        .connect_timeout(Duration::from_secs(10))
        .user_agent(concat!("em-load/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(LoadError::Client)
}

pub(crate) fn endpoint(url: &str) -> Result<Url, LoadError> {
    Url::parse(url).map_err(|error| LoadError::Plan { field: "url", cure: format!("{error}; write the full endpoint") })
}

fn request(url: Url, body: Vec<u8>, timeout: Duration) -> Request {
    let mut request = Request::new(Method::POST, url);
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *request.timeout_mut() = Some(timeout);
    *request.body_mut() = Some(body.into());
    request
}

/// Sends `body` and waits for the last byte of the answer.
pub(crate) async fn exchange(client: &Client, url: &Url, body: Vec<u8>, timeout: Duration) -> Exchanged {
    let failed = |error: &reqwest::Error, head: bool| {
        let (ended, outcome) = (Instant::now(), classify(error, head));
        Exchanged { ended, answer: Answer::Fault { outcome, bytes: 0, fault: with_causes(error) } }
    };
    let answer = match client.execute(request(url.clone(), body, timeout)).await {
        Ok(answer) => answer,
        Err(error) => return failed(&error, true),
    };
    let status = answer.status();
    let body = match answer.bytes().await {
        Ok(body) => body,
        Err(error) => return failed(&error, false),
    };
    let ended = Instant::now();
    let answer = if status.is_success() {
        Answer::Body(body)
    } else {
        let fault = format!("{status}: {}", beginning(&body));
        Answer::Fault { outcome: Outcome::Status(status.as_u16()), bytes: body.len() as u64, fault }
    };
    Exchanged { ended, answer }
}

/// `head`: no answer had begun.
fn classify(error: &reqwest::Error, head: bool) -> Outcome {
    if error.is_timeout() {
        return Outcome::TimedOut;
    }
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset};
            if matches!(io.kind(), ConnectionRefused | ConnectionReset | ConnectionAborted | BrokenPipe) {
                return Outcome::Refused;
            }
        }
        // The peer closed before it answered.
        if head && error.downcast_ref::<hyper::Error>().is_some_and(|error| error.is_incomplete_message() || error.is_closed()) {
            return Outcome::Refused;
        }
        cause = error.source();
    }
    if error.is_connect() { Outcome::Refused } else { Outcome::Other }
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn beginning(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(800)]);
    text.chars().take(200).collect()
}

/// Whom to ask, and how.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The full endpoint.
    pub url: &'a str,
    pub wire: Wire,
    pub model: &'a str,
    /// Fields beside the texts.
    pub fields: &'a Map<String, Value>,
    pub key: Option<&'a Key>,
}

/// Asks once: `texts` strings in, `[texts.len(), dim]` f32 out, in the order of the texts and as the server sent them (for
/// parity, so without a check of finiteness). Errors: Transport, Status, Answer.
pub async fn embed_once(target: Target<'_>, texts: &[String], timeout: Duration) -> Result<Vec<Vec<f32>>, LoadError> {
    let Target { url, wire, model, fields, key } = target;
    let transport = |source| LoadError::Transport { url: url.to_owned(), source };
    let mut body = Vec::new();
    wire::encode(wire, model, texts.iter().map(String::as_str), &wire::tail(fields), &mut body);
    let answer = client(key)?.execute(request(endpoint(url)?, body, timeout)).await.map_err(transport)?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(transport)?;
    if !status.is_success() {
        let said = beginning(&body);
        let body = key.map_or_else(|| said.clone(), |key| key.redacted(&said));
        return Err(LoadError::Status { url: url.to_owned(), status: status.as_u16(), body });
    }
    wire::vectors(wire, &body, texts.len()).map_err(|reason| LoadError::Answer {
        url: url.to_owned(),
        wire: wire::name(wire),
        reason,
    })
}
