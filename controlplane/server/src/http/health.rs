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

async fn health() -> &'static str {
    "ok\n"
}

async fn ready(app: Data<App>) -> Answer {
    match app.store.ping().await {
        Ok(()) => Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ready\n")),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", "not ready"))
        }
    }
}
