//! For Prometheus: our own metrics, and through us those of the agents, which have no open port.

use std::fmt::Write as _;

use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use em_api::AttemptId;
use serde_json::{Value, json};

use super::App;
use super::access;
use super::problem::Answer;
use crate::store::now;
use crate::store::telemetry::ScrapeTarget;

const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(web::resource("/metrics").wrap(from_fn(access::scrapers)).route(web::get().to(own))).service(
        web::scope("/prometheus")
            .wrap(from_fn(access::scrapers))
            .service(web::resource("/targets").route(web::get().to(targets)))
            .service(web::resource("/agents/{attempt}").route(web::get().to(agent))),
    );
}

/// Read the server's own metrics
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "readMetrics",
    tag = "monitoring",
    responses((status = 200, description = "Prometheus' text format", body = super::openapi::Text, content_type = "text/plain")),
    security(("token" = [])),
)]
async fn own(app: Data<App>) -> HttpResponse {
    HttpResponse::Ok().content_type(EXPOSITION).body(app.metrics.render())
}

/// List the agents for Prometheus' HTTP service discovery
///
/// All agents are reached at the address by which Prometheus reached us, each by a path of its own.
#[utoipa::path(
    get,
    path = "/prometheus/targets",
    operation_id = "listScrapeTargets",
    tag = "monitoring",
    responses((status = 200, description = "One entry an agent", body = super::openapi::ScrapeTargets)),
    security(("token" = [])),
)]
async fn targets(app: Data<App>, request: HttpRequest) -> Answer {
    let host = request.connection_info().host().to_owned();
    let targets: Vec<Value> = app.store.scrape_targets().await?.iter().map(|target| entry(&host, target)).collect();
    Ok(HttpResponse::Ok().json(targets))
}

fn entry(host: &str, target: &ScrapeTarget) -> Value {
    let mut labels = json!({
        "__metrics_path__": format!("/prometheus/agents/{}", target.attempt),
        "experiment": target.experiment,
    });
    if let Some(node) = &target.node {
        // Otherwise every agent would carry our own address.
        labels["instance"] = json!(node);
    }
    json!({"targets": [host], "labels": labels})
}

/// Read an agent's metrics: the last exposition that came, and how old it is
#[utoipa::path(
    get,
    path = "/prometheus/agents/{attempt}",
    operation_id = "readAgentMetrics",
    tag = "monitoring",
    params(("attempt" = AttemptId, Path, description = "The attempt")),
    responses((status = 200, description = "Prometheus' text format", body = super::openapi::Text, content_type = "text/plain")),
    security(("token" = [])),
)]
async fn agent(app: Data<App>, id: Path<AttemptId>) -> Answer {
    let mut text = String::new();
    app.store.attempt(*id).await?;
    if let Some((received_at, exposition)) = app.store.exposition(*id).await? {
        text = exposition;
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        let age = now().duration_since(received_at).as_secs_f64().max(0.0);
        let _ = writeln!(
            text,
            "# HELP em_agent_lag_seconds Since the agent's last exposition came.\n# TYPE em_agent_lag_seconds gauge\n\
             em_agent_lag_seconds {age:.3}"
        );
    }
    Ok(HttpResponse::Ok().content_type(EXPOSITION).body(text))
}
