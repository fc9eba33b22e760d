//! `/health`, `/info` and `/metrics`: what others want to know about the service.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use em_api::spec::Device;
use serde_json::json;

use super::Service;
use super::reply;

/// 200 while requests are taken; 503 when the service stops or its engine has died.
pub(super) async fn health(service: Data<Service>) -> HttpResponse {
    let accepts = service.engine.accepts();
    let mut response = reply::json(&json!({
        "status": if accepts { "healthy" } else { "stopping" },
        "backend": "ort",
        "model": service.model_name,
        "gpu_available": service.engine.info().device == Device::Cuda,
    }));
    if !accepts {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

pub(super) async fn info(service: Data<Service>) -> HttpResponse {
    let engine = service.engine.info();
    reply::json(&json!({
        "backend": "ort",
        "version": env!("CARGO_PKG_VERSION"),
        "model": service.model_name,
        "max_texts": service.max_texts,
        "engine": engine,
    }))
}

pub(super) async fn metrics(service: Data<Service>) -> HttpResponse {
    let text = service.engine.metrics().text();
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text)
}
