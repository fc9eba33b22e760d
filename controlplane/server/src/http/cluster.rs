//! `GET /cluster`: the last look, with its age. And what Slurm's hooks say: look now.

use std::collections::HashMap;

use actix_web::http::{StatusCode, header};
use actix_web::middleware::from_fn;
use actix_web::web::{self, Bytes, Data, PayloadConfig, ServiceConfig};
use actix_web::{HttpResponse, ResponseError};
use em_api::cluster::{Cluster, GresTotal, Limits, Node, NodeGres, Partition};
use em_slurm::ClusterView;
use serde::Deserialize;
use tracing::debug;

use super::App;
use super::access;
use super::problem::{Answer, Refusal};
use crate::cluster::Learned;
use crate::store::now;

/// A hook has a job id to say at most.
const HINT_BYTES: usize = 4_096;

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(web::resource("/cluster").wrap(from_fn(access::people)).route(web::get().to(read))).service(
        web::resource("/slurm/hint")
            .wrap(from_fn(access::hooks))
            .app_data(PayloadConfig::new(HINT_BYTES))
            .route(web::post().to(hint)),
    );
}

/// Read what the cluster has and what of it is free
///
/// As Slurm told lately; `ageSeconds` says how long ago.
#[utoipa::path(
    get,
    path = "/cluster",
    operation_id = "readCluster",
    tag = "cluster",
    responses(
        (status = 200, description = "The cluster", body = Cluster),
        (status = 503, description = "`cluster_unknown`: Slurm has not answered yet", headers(("Retry-After" = u64))),
    ),
    security(("token" = []), ("session" = [])),
)]
async fn read(app: Data<App>) -> Answer {
    let known = app.cluster.look().await;
    if let Some(learned) = &known.learned {
        return Ok(HttpResponse::Ok().json(shown(learned, known.problem)));
    }
    let seconds = known.next_look().as_secs().max(1);
    let why = known.problem.map(|problem| format!(" ({problem})")).unwrap_or_default();
    let detail = format!("Slurm has not yet said what the cluster has{why}; try again in {seconds} s");
    let mut response = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "cluster_unknown", detail).error_response();
    response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from(seconds));
    Ok(response)
}

#[derive(Deserialize)]
struct Hint {
    job_id: serde_json::Value,
}

/// Say that something changed in Slurm: look now
///
/// For Slurm's hooks, with the token of the file `hint-token`. Whatever the body says, it only means "look now".
#[utoipa::path(
    post,
    path = "/slurm/hint",
    operation_id = "hint",
    tag = "cluster",
    request_body(content = super::openapi::Hint, content_type = "application/json"),
    responses((status = 202, description = "Heard"), (status = 413, description = "`too_large`")),
    security(("token" = [])),
)]
async fn hint(app: Data<App>, body: Bytes) -> HttpResponse {
    let job = serde_json::from_slice::<Hint>(&body).ok().map(|hint| hint.job_id.to_string().chars().take(40).collect::<String>());
    debug!(job.id = job, "a hook of Slurm's says: look now");
    app.metrics.slurm_hints.inc();
    app.hints.give();
    HttpResponse::Accepted().finish()
}

fn shown(learned: &Learned, problem: Option<String>) -> Cluster {
    let view = &learned.view;
    let limits = &view.limits;
    let mut memberships: HashMap<&str, Vec<String>> = HashMap::new();
    for partition in &view.partitions {
        for name in &partition.nodes {
            memberships.entry(name).or_default().push(partition.name.clone());
        }
    }
    Cluster {
        name: view.name.clone(),
        version: view.version.clone(),
        observed_at: learned.at,
        age_seconds: now().duration_since(learned.at).as_secs().try_into().unwrap_or(0),
        problem,
        partitions: view.partitions.iter().map(|one| partition(view, one)).collect(),
        nodes: view.nodes.iter().map(|one| node(one, memberships.get(one.name.as_str()).cloned().unwrap_or_default())).collect(),
        limits: Limits {
            max_job_count: limits.max_job_count,
            max_array_size: limits.max_array_size,
            min_job_age_seconds: limits.min_job_age_seconds,
            message_timeout_seconds: limits.message_timeout_seconds,
            max_submit_jobs: limits.max_submit_jobs,
            accounting: limits.accounting,
        },
    }
}

fn partition(view: &ClusterView, partition: &em_slurm::Partition) -> Partition {
    let nodes: Vec<&em_slurm::Node> = view.nodes_of(partition).collect();
    let usable = || nodes.iter().filter(|node| node.usable());
    let mut gres: Vec<GresTotal> = Vec::new();
    for node in &nodes {
        for one in &node.gres {
            let free = if node.usable() { one.count.saturating_sub(one.used) } else { 0 };
            match gres.iter_mut().find(|known| known.kind == one.kind && known.model == one.model) {
                Some(known) => (known.total, known.free) = (known.total + one.count, known.free + free),
                None => gres.push(GresTotal { kind: one.kind.clone(), model: one.model.clone(), total: one.count, free }),
            }
        }
    }
    Partition {
        name: partition.name.clone(),
        default: partition.default,
        state: partition.state.clone(),
        max_time_minutes: partition.max_time_minutes,
        default_time_minutes: partition.default_time_minutes,
        nodes_total: partition.nodes.len(),
        nodes_free: usable().filter(|node| node.cpus_allocated == 0).count(),
        cpus_total: nodes.iter().map(|node| u64::from(node.cpus)).sum(),
        cpus_free: usable().map(|node| u64::from(node.cpus.saturating_sub(node.cpus_allocated))).sum(),
        gres,
    }
}

fn node(node: &em_slurm::Node, partitions: Vec<String>) -> Node {
    let gres =
        |one: &em_slurm::Gres| NodeGres { kind: one.kind.clone(), model: one.model.clone(), count: one.count, used: one.used };
    Node {
        name: node.name.clone(),
        state: node.state.clone(),
        usable: node.usable(),
        reason: node.reason.clone(),
        partitions,
        cpus: node.cpus,
        cpus_allocated: node.cpus_allocated,
        memory_mb: node.memory_mb,
        memory_allocated_mb: node.memory_allocated_mb,
        gres: node.gres.iter().map(gres).collect(),
        features: node.features.clone(),
    }
}
