//! Answers with the time of each phase in `Server-Timing`, and refusals in OpenAI's shape on every route, so that a client library shows
//! the sentence and not "unknown error".

use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, ContentType, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::body;
use crate::engine::{EmbedError, Embedded, Metrics, Phase, Times};

/// A request that gets no vectors, and what to change.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    message: String,
    /// The field, with its place: `texts[3]`.
    param: Option<String>,
    code: &'static str,
}

impl Refusal {
    /// 400: the value of a field is wrong.
    pub(super) fn field(param: impl Into<String>, message: impl Into<String>) -> Self {
        let param = Some(param.into());
        Self { status: StatusCode::BAD_REQUEST, message: message.into(), param, code: "invalid_value" }
    }

    pub(super) fn body(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.into(), param: None, code: "invalid_body" }
    }

    pub(super) fn with(mut self, status: StatusCode, code: &'static str) -> Self {
        self.status = status;
        self.code = code;
        self
    }

    pub(super) fn into_response(self) -> HttpResponse {
        #[derive(Serialize)]
        struct Body<'a> {
            error: Error<'a>,
        }
        #[derive(Serialize)]
        struct Error<'a> {
            message: &'a str,
            #[serde(rename = "type")]
            kind: &'static str,
            param: Option<&'a str>,
            code: &'static str,
        }
        let kind = match self.status {
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        let error = Error { message: &self.message, kind, param: self.param.as_deref(), code: self.code };
        let mut response = HttpResponse::build(self.status);
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.insert_header((RETRY_AFTER, "1"));
        }
        response.json(Body { error })
    }
}

impl From<EmbedError> for Refusal {
    fn from(error: EmbedError) -> Self {
        let (status, code, param) = match &error {
            EmbedError::Full { .. } => (StatusCode::TOO_MANY_REQUESTS, "queue_full", None),
            EmbedError::Closed => (StatusCode::SERVICE_UNAVAILABLE, "stopping", None),
            EmbedError::TokenId { list, .. } => (StatusCode::BAD_REQUEST, "invalid_value", Some(format!("input[{list}]"))),
            EmbedError::TooLong { text, .. } => (StatusCode::PAYLOAD_TOO_LARGE, "text_too_long", Some(format!("input[{text}]"))),
            EmbedError::Deadline { .. } => (StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded", None),
            EmbedError::Tokenise(_) | EmbedError::Batch(_) => (StatusCode::INTERNAL_SERVER_ERROR, "embedding_failed", None),
        };
        let message = match &param {
            Some(param) => format!("{param}: {error}"),
            None => error.to_string(),
        };
        Self { status, message, param, code }
    }
}

/// Vectors as `json` writes them, or as plain f32 for a client that accepts `application/octet-stream`.
pub(super) fn vectors(
    request: &HttpRequest,
    metrics: &Metrics,
    embedded: &Embedded,
    json: impl FnOnce() -> Vec<u8>,
) -> HttpResponse {
    let started = Instant::now();
    let mut response = HttpResponse::Ok();
    let raw = request.headers().get(ACCEPT).is_some_and(|accept| accept.as_bytes() == b"application/octet-stream");
    let body = if raw {
        response.insert_header(ContentType::octet_stream());
        response.insert_header(("x-embedding-dim", embedded.dim));
        body::bytes(&embedded.values)
    } else {
        response.insert_header(ContentType::json());
        json()
    };
    let serialise = started.elapsed();
    metrics.phase(Phase::Serialise, serialise);
    response.insert_header(("server-timing", server_timing(embedded.times, serialise)));
    response.body(body)
}

/// Milliseconds, as browsers and proxies read them.
fn server_timing(times: Times, serialise: Duration) -> String {
    let phases = [("tokenise", times.tokenise), ("queue", times.queue), ("compute", times.compute), ("serialise", serialise)];
    let entries = phases.map(|(name, time)| format!("{name};dur={:.3}", time.as_secs_f64() * 1e3));
    entries.join(", ")
}

pub(super) fn json(value: &impl Serialize) -> HttpResponse {
    let body = serde_json::to_vec(value).expect("numbers and strings become JSON");
    HttpResponse::Ok().insert_header(ContentType::json()).body(body)
}

pub(super) async fn no_such_route(request: HttpRequest) -> HttpResponse {
    let message = format!("{} {} is not served here; see /info", request.method(), request.path());
    Refusal::body(message).with(StatusCode::NOT_FOUND, "not_found").into_response()
}
