//! Refusals: each answer above 399 is `application/problem+json` with a stable code, whoever refused.

use std::fmt;

use actix_web::body::BoxBody;
use actix_web::dev::ServiceResponse;
use actix_web::error::{JsonPayloadError, PathError, QueryPayloadError};
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::web::{JsonConfig, PathConfig, QueryConfig};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use em_api::problem::{CONTENT_TYPE, FieldError, Problem};
use tracing::{error, warn};

use crate::store;

/// Why a request is refused, as the caller reads it.
#[derive(Debug)]
pub(super) struct Refusal(Box<Problem>);

/// With each 503 that names no other time.
const RETRY_AFTER_SECONDS: u32 = 5;

pub(super) type Answer<T = HttpResponse> = Result<T, Refusal>;

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self(Box::new(Problem::new(status.as_u16(), code, status.canonical_reason().unwrap_or("Error"), detail)))
    }

    pub(super) fn not_found(what: impl fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no {what}"))
    }

    pub(super) fn bad_request(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub(super) fn conflict(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 422 with one error a field.
    pub(super) fn fields(code: &str, what: &str, errors: Vec<FieldError>) -> Self {
        let count = errors.len();
        let detail = format!("{what} has {count} mistake{}", if count == 1 { "" } else { "s" });
        let mut refusal = Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail);
        refusal.0.errors = errors;
        refusal
    }

    pub(super) fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.0.errors = errors;
        self
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "send a token of this server (Authorization: Bearer …), or open the dashboard by the link of `emctl dashboard`",
        )
    }

    pub(super) fn key_in_use() -> Self {
        let detail = "a request with this Idempotency-Key is being worked on; repeat it in a second to get its answer";
        Self::conflict("idempotency_in_flight", detail)
    }

    /// Ours to repair: the cause goes to the log, not to the caller.
    pub(super) fn internal(doing: &'static str, cause: &dyn fmt::Display) -> Self {
        error!(error = %cause, "{doing} failed");
        let detail = "the control plane could not do this; its log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.detail)
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = HttpResponse::build(self.status_code());
        if self.status_code() == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        if self.status_code() == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((header::RETRY_AFTER, RETRY_AFTER_SECONDS));
        }
        let body = serde_json::to_string(&self.0).expect("a problem has string keys and serialises");
        response.insert_header((header::CONTENT_TYPE, CONTENT_TYPE)).body(body)
    }
}

impl From<Box<Problem>> for Refusal {
    fn from(problem: Box<Problem>) -> Self {
        Self(problem)
    }
}

impl From<store::Error> for Refusal {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::NotFound(what) => Self::not_found(what),
            store::Error::Stale(_) => Self::new(
                StatusCode::PRECONDITION_FAILED,
                "precondition_failed",
                "it was changed in between: read it again, then repeat with its new ETag",
            ),
            store::Error::NameTaken(held) => Self::conflict(
                "already_exists",
                format!(
                    "an experiment named {} exists with another spec; choose another name, or delete that one first",
                    held.metadata.name
                ),
            ),
            store::Error::BeingDeleted(name) => {
                Self::conflict("being_deleted", format!("experiment {name} is being deleted; wait until it is gone"))
            }
            store::Error::AlreadyEnded { name, phase } => Self::conflict(
                "already_ended",
                format!("experiment {name} has ended ({phase}); post it again under another name to run it again"),
            ),
            store::Error::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "this Idempotency-Key came with another body before; take a new key for a new experiment",
            ),
            store::Error::KeyInUse => Self::key_in_use(),
            other => {
                if let Some(why) = other.unavailable() {
                    let cause = std::error::Error::source(&other).map(ToString::to_string).unwrap_or_default();
                    warn!(error = cause, "a request is put off: {}", why.cure());
                    return Self::new(StatusCode::SERVICE_UNAVAILABLE, &format!("database_{}", why.as_str()), why.cure());
                }
                let cause = std::error::Error::source(&other).map(ToString::to_string).unwrap_or_default();
                Self::internal("a request", &format_args!("{other}: {cause}"))
            }
        }
    }
}

pub(super) fn path_config() -> PathConfig {
    PathConfig::default().error_handler(|_: PathError, request| nothing_here(request).into())
}

pub(super) fn query_config() -> QueryConfig {
    QueryConfig::default().error_handler(|error: QueryPayloadError, request| {
        let detail = match (misread(request.query_string()), &error) {
            (Some(detail), _) => detail,
            (None, QueryPayloadError::Deserialize(reason)) => format!("the query is not understood: {reason}"),
            (None, _) => "the query is not understood".to_owned(),
        };
        Refusal::bad_request("invalid_query", detail).into()
    })
}

/// The first parameter whose value is of the wrong kind; the parser itself does not name it.
fn misread(query: &str) -> Option<String> {
    url::form_urlencoded::parse(query.as_bytes()).find_map(|(name, value)| match name.as_ref() {
        "watch" | "dryRun" | "follow" if !matches!(value.as_ref(), "true" | "false") => {
            Some(format!("{name} is true or false, not `{value}`"))
        }
        "limit" | "after" if value.parse::<u32>().is_err() => Some(format!("{name} is a whole number, not `{value}`")),
        _ => None,
    })
}

/// JSON bodies of up to `limit` bytes. A body that is JSON but not what is asked for is 422.
pub(super) fn json_config(limit: usize) -> JsonConfig {
    JsonConfig::default().limit(limit).error_handler(|error, _| json_refusal(&error).into())
}

fn json_refusal(error: &JsonPayloadError) -> Refusal {
    match error {
        JsonPayloadError::OverflowKnownLength { .. } | JsonPayloadError::Overflow { .. } => too_large(),
        JsonPayloadError::ContentType => Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "send JSON, with the header Content-Type: application/json",
        ),
        JsonPayloadError::Deserialize(reason) if reason.is_data() => Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_body",
            format!("the body is not what this address takes: {reason}"),
        ),
        JsonPayloadError::Deserialize(reason) => {
            Refusal::bad_request("malformed_body", format!("the body is not well-formed JSON: {reason}"))
        }
        other => Refusal::bad_request("malformed_body", format!("the body could not be read: {other}")),
    }
}

fn too_large() -> Refusal {
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is larger than this address takes")
}

fn nothing_here(request: &HttpRequest) -> Refusal {
    let path: String = request.path().chars().take(200).collect();
    Refusal::new(StatusCode::NOT_FOUND, "not_found", format!("there is nothing at {path}"))
}

/// Makes a problem of a refusal that came from the framework (no route, wrong method, body too large).
pub(super) fn settle(answer: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let status = answer.status();
    let is_problem = answer.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == CONTENT_TYPE);
    if is_problem || !(status.is_client_error() || status.is_server_error()) {
        return answer;
    }
    let (request, plain) = answer.into_parts();
    let refusal = match status {
        StatusCode::NOT_FOUND => nothing_here(&request),
        StatusCode::METHOD_NOT_ALLOWED => {
            Refusal::new(status, "method_not_allowed", format!("this address does not take {}", request.method()))
        }
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        // Address, query and JSON have words of their own; what is left is the transport of a body.
        StatusCode::BAD_REQUEST => Refusal::bad_request("malformed_body", "the body could not be read to its end"),
        _ => Refusal::new(status, "refused", status.canonical_reason().unwrap_or("the request was refused")),
    };
    let mut response = refusal.error_response();
    if let Some(methods) = plain.headers().get(header::ALLOW) {
        response.headers_mut().insert(header::ALLOW, methods.clone());
    }
    ServiceResponse::new(request, response)
}
