//! Who may come in: a bearer token, or a browser's session cookie. A login node is shared, so loopback is no fence. Each group of
//! addresses is wrapped in one of the rules here; a handler then asks for [`Caller`].

use std::future::{Ready, ready};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest, ResponseError};

use super::App;
use super::problem::{Answer, Refusal};
use crate::store::access::{Principal, Role};

/// Who asks; there on addresses behind one of the rules.
pub(super) struct Caller(pub(super) Principal);

impl FromRequest for Caller {
    type Error = Refusal;
    type Future = Ready<Answer<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(request.extensions().get::<Principal>().cloned().map(Self).ok_or_else(Refusal::unauthorized))
    }
}

/// Viewers read, submitters write.
pub(super) async fn people(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    admit(request, next, |role, method| role >= if reads(method) { Role::Viewer } else { Role::Submitter }).await
}

/// Every person, whatever the method.
pub(super) async fn viewers(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    admit(request, next, |role, _| role >= Role::Viewer).await
}

pub(super) async fn scrapers(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    admit(request, next, |role, _| matches!(role, Role::Scraper | Role::Admin)).await
}

/// Hooks of Slurm's: their token lies on a machine that many may log in to, and opens nothing else.
pub(super) async fn hooks(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    admit(request, next, |role, _| matches!(role, Role::Hint | Role::Admin)).await
}

async fn admit(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    allows: fn(Role, &Method) -> bool,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let refusal = match authenticate(request.request()).await {
        Ok(who) if allows(who.role, request.method()) => {
            request.extensions_mut().insert(who);
            return Ok(next.call(request).await?.map_into_boxed_body());
        }
        Ok(_) => Refusal::new(StatusCode::FORBIDDEN, "forbidden", "the role of this token does not allow this; use one that may"),
        Err(refusal) => refusal,
    };
    Ok(request.into_response(refusal.error_response()))
}

async fn authenticate(request: &HttpRequest) -> Answer<Principal> {
    let app = App::of(request);
    if let Some(secret) = bearer(request) {
        return app.store.token(secret).await?.ok_or_else(Refusal::unauthorized);
    }
    let secret = session_cookie(request).ok_or_else(Refusal::unauthorized)?;
    let who = app.store.session(secret).await?.ok_or_else(Refusal::unauthorized)?;
    if !reads(request.method()) {
        same_origin(request)?;
    }
    Ok(who)
}

pub(super) fn bearer(request: &HttpRequest) -> Option<&str> {
    let (scheme, secret) = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

pub(super) fn session_cookie(request: &HttpRequest) -> Option<&str> {
    let name: &str = &App::of(request).cookie;
    let lines = request.headers().get_all(header::COOKIE).filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// A cookie comes along with whatever page sends the request; browsers say which page that is.
pub(super) fn same_origin(request: &HttpRequest) -> Answer<()> {
    let text = |name: header::HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let origin = text(header::ORIGIN).and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    if origin.is_some() && origin == text(header::HOST) {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::FORBIDDEN, "foreign_origin", "this request comes from a page of another site"))
}

fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}
