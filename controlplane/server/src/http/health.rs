//! Open to everybody, and silent: whether the process runs, and whether it can work. Slurm being away changes neither.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, ServiceConfig};

use super::App;
use super::problem::{Answer, Refusal};

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(web::resource("/healthz").route(web::get().to(health)))
        .service(web::resource("/readyz").route(web::get().to(ready)));
}

/// Whether the process runs
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "health",
    tag = "monitoring",
    responses((status = 200, description = "It does", body = super::openapi::Text, content_type = "text/plain")),
)]
async fn health() -> &'static str {
    "ok\n"
}

/// Whether the server can work
///
/// Slurm being away does not change it.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "ready",
    tag = "monitoring",
    responses(
        (status = 200, description = "It can", body = super::openapi::Text, content_type = "text/plain"),
        (status = 503, description = "`not_ready`: the database does not answer"),
    ),
)]
async fn ready(app: Data<App>) -> Answer {
    match app.store.ping().await {
        Ok(()) => Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ready\n")),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", "not ready"))
        }
    }
}
