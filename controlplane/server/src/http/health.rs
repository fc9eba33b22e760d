//! Open to everybody, and silent: whether the process runs, and whether it can work. Slurm being away changes neither.

use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, ServiceConfig};
use tokio::sync::Mutex;

use super::App;
use super::problem::{Answer, Refusal};
use crate::store::{self, Store};

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
        (status = 503, description = "`not_ready`: the database does not answer or takes no writes; its disk may be full"),
    ),
)]
async fn ready(app: Data<App>) -> Answer {
    if app.readiness.of(&app.store).await {
        return Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ready\n"));
    }
    Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", "not ready"))
}

/// The last answer of the database, and when. Everybody may ask, and an answer costs a write to the disk: one is enough for all who
/// ask within [`READY_FOR`].
#[derive(Default)]
pub(super) struct Readiness(Mutex<Option<(Instant, bool)>>);

const READY_FOR: Duration = Duration::from_secs(2);
/// A database that takes longer for one row is not ready for more.
const PATIENCE: Duration = Duration::from_secs(5);

impl Readiness {
    async fn of(&self, store: &Store) -> bool {
        let mut last = self.0.lock().await;
        if let Some((at, ready)) = *last
            && at.elapsed() < READY_FOR
        {
            return ready;
        }
        let answer = tokio::time::timeout(PATIENCE, store.ping()).await.unwrap_or(Err(store::Error::Late));
        if let Err(error) = &answer {
            tracing::warn!(error = error as &dyn std::error::Error, "not ready");
        }
        *last = Some((Instant::now(), answer.is_ok()));
        answer.is_ok()
    }
}
