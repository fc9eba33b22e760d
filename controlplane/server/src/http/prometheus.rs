//! For Prometheus: our own metrics, the list of agents (http_sd), and the relay of what each agent last pushed.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use em_api::AttemptId;
use serde::Serialize;

use super::App;
use super::problem::{Answer, ApiError};
use crate::store::now;

const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";
/// An exposition older than this would show a dead agent as alive.
const STALE_AFTER_S: f64 = 60.0;

/// `GET /metrics`.
pub(super) async fn metrics(app: web::Data<App>) -> HttpResponse {
    HttpResponse::Ok().content_type(EXPOSITION).body(app.metrics.render())
}

#[derive(Serialize)]
struct TargetGroup {
    targets: [String; 1],
    labels: BTreeMap<&'static str, String>,
}

/// `GET /prometheus/targets`: one target an agent, scraped through us. An empty list is `[]`, as http_sd asks.
pub(super) async fn targets(app: web::Data<App>) -> Answer {
    let (scheme, address) = app.url.split_once("://").unwrap_or(("http", &app.url));
    let group = |target: crate::store::telemetry::ScrapeTarget| {
        let mut labels = BTreeMap::from([
            ("__metrics_path__", format!("/prometheus/agents/{}", target.attempt)),
            ("__scheme__", scheme.to_owned()),
            ("attempt", target.attempt.to_string()),
            ("experiment", target.experiment),
        ]);
        labels.extend(target.node.map(|node| ("node", node)));
        labels.extend(target.job_id.map(|job| ("slurm_job_id", job)));
        TargetGroup { targets: [address.to_owned()], labels }
    };
    let groups: Vec<TargetGroup> = app.store.scrape_targets().await?.into_iter().map(group).collect();
    Ok(HttpResponse::Ok().json(groups))
}

/// `GET /prometheus/agents/{attempt}`: what the agent last pushed, with its age.
pub(super) async fn relay(app: web::Data<App>, attempt: web::Path<String>) -> Answer {
    let attempt: AttemptId = attempt.parse().map_err(|_| ApiError::not_found("there is no such attempt"))?;
    if app.store.attempt(attempt).await?.ended() {
        return Err(ApiError::new(StatusCode::GONE, "attempt_ended", "this attempt has ended; its series end with it"));
    }
    let pushed = app.store.exposition(attempt).await?;
    let (at, text) = pushed.ok_or_else(|| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "nothing_yet", "the agent has pushed nothing yet"))?;
    let age = now().duration_since(at).as_secs_f64().max(0.0);
    if age > STALE_AFTER_S {
        let detail = format!("the agent pushed last {age:.0} s ago");
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "agent_silent", detail));
    }
    let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let own = format!(
        "# HELP em_agent_exposition_age_seconds Since the agent pushed these metrics.\n\
         # TYPE em_agent_exposition_age_seconds gauge\nem_agent_exposition_age_seconds {age:.3}\n"
    );
    Ok(HttpResponse::Ok().content_type(EXPOSITION).body(format!("{text}{newline}{own}")))
}
