//! Around every request: a span, the counters, and what every answer carries.

use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError};
use tracing::field::Empty;
use tracing::{Instrument, debug, info_span};

use super::App;
use super::{gate, head, problem};

pub(super) async fn observe(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let begin = Instant::now();
    let method = word(request.method());
    let span = info_span!("request", http.method = method, http.route = Empty, http.status = Empty);
    let head = head::as_get(&mut request);
    let mut answer = match gate::check(request.request()) {
        Ok(()) => problem::settle(next.call(request).instrument(span.clone()).await?.map_into_boxed_body()),
        Err(refusal) => request.into_response(refusal.error_response()),
    };
    head::allow_too(&mut answer);
    // The pattern, not the path: names would make a series each.
    let route = answer.request().match_pattern().unwrap_or_else(|| "none".to_owned());
    let (status, elapsed) = (answer.status(), begin.elapsed());
    let metrics = &App::of(answer.request()).metrics;
    metrics.http_requests.with_label_values(&[method, route.as_str(), status.as_str()]).inc();
    metrics.http_seconds.with_label_values(&[method, route.as_str()]).observe(elapsed.as_secs_f64());
    span.record("http.route", route.as_str());
    span.record("http.status", status.as_u16());
    span.in_scope(|| debug!(elapsed_ms = elapsed.as_secs_f64() * 1e3, "answered"));
    let headers = answer.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(if head { head::without_body(answer) } else { answer })
}

/// A label comes from a closed set.
fn word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}
