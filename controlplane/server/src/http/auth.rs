//! Who calls: a bearer token, or a browser's session cookie. A login node is shared, so loopback is no fence: nothing below is
//! answered to a stranger. What a role may do is decided here, in one place.

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::Next;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use std::future::{Ready, ready};

use super::App;
use super::problem::ApiError;
use crate::store::access::{Principal, Role};

pub(super) const COOKIE: &str = "em_session";

/// The authenticated caller, for handlers.
#[derive(Clone, Debug)]
pub(super) struct Caller(pub(super) Principal);

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(request.extensions().get::<Self>().cloned().ok_or_else(unauthenticated))
    }
}

pub(super) async fn authenticate(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let app = request.app_data::<web::Data<App>>().cloned().ok_or_else(unauthenticated)?;
    let caller = identify(&app, request.request()).await?;
    let needed = needed(request.method(), request.path());
    if caller.role < needed {
        tracing::warn!(owner = caller.owner, method = %request.method(), path = request.path(), "denied");
        let detail = format!("this needs the role {}; the token's role is {}", word(needed), word(caller.role));
        return Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", detail).into());
    }
    request.extensions_mut().insert(Caller(caller));
    next.call(request).await
}

async fn identify(app: &App, request: &HttpRequest) -> Result<Principal, ApiError> {
    if let Some(token) = bearer(request) {
        return app.store.token(&token).await?.ok_or_else(|| {
            ApiError::new(StatusCode::UNAUTHORIZED, "unknown_token", "this token is not known here")
        });
    }
    let secret = session_secret(request).ok_or_else(unauthenticated)?;
    let caller = app.store.session(&secret).await?.ok_or_else(|| {
        ApiError::new(StatusCode::UNAUTHORIZED, "session_ended", "the session has ended; sign in again")
    })?;
    if !request.method().is_safe() && !same_origin(request) {
        let detail = "a write with a session cookie must come from our own page";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "foreign_origin", detail));
    }
    Ok(caller)
}

fn needed(method: &Method, path: &str) -> Role {
    match path {
        "/metrics" => Role::Scraper,
        _ if path.starts_with("/prometheus/") => Role::Scraper,
        "/sessions/links" => Role::Admin,
        _ if method.is_safe() => Role::Viewer,
        _ => Role::Submitter,
    }
}

fn word(role: Role) -> &'static str {
    match role {
        Role::Scraper => "scraper",
        Role::Viewer => "viewer",
        Role::Submitter => "submitter",
        Role::Admin => "admin",
    }
}

/// The token of an `Authorization: Bearer` header.
pub(super) fn bearer(request: &HttpRequest) -> Option<String> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

/// What the session cookie holds.
pub(super) fn session_secret(request: &HttpRequest) -> Option<String> {
    let pairs = request.headers().get_all(header::COOKIE).filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    pairs.filter_map(|pair| pair.trim().split_once('=')).find(|(name, _)| *name == COOKIE).map(|(_, value)| value.to_owned())
}

/// Whether the page that sent the request is ours: its origin is the host that was asked.
pub(super) fn same_origin(request: &HttpRequest) -> bool {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let Some(origin) = text(header::ORIGIN) else { return false };
    let host = origin.split_once("://").map(|(_, host)| host);
    host.is_some() && host == text(header::HOST)
}

pub(super) fn unauthenticated() -> ApiError {
    let detail = "a token is needed (Authorization: Bearer …); the admin's is in the state directory, and emctl finds it by itself";
    ApiError::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
}
