//! The environment capsule of an experiment: what it takes to run the same again.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use em_api::capsule::Capsule;

use super::App;
use super::name::Name;
use super::problem::Answer;
use super::results::computed;
use crate::results::capsule::gather;
use crate::store::status;

/// Read the environment capsule of an experiment
///
/// Nodes, services with their command lines and versions, jobs with their queue time, hashes and seeds, of all trials that are in.
#[utoipa::path(
    get,
    path = "/experiments/{name}/capsule",
    operation_id = "readCapsule",
    tag = "results",
    params(("name" = String, Path, description = "Name of the experiment", example = "demo")),
    responses((status = 200, description = "The capsule", body = Capsule)),
    security(("token" = []), ("session" = [])),
)]
pub(super) async fn capsule(app: Data<App>, name: Path<Name>) -> Answer {
    let computed = computed(&app, &name).await?;
    // Of this moment: a job may have started since the last measurement.
    let attempts = app.store.attempts(computed.input.experiment.metadata.uid).await?;
    let jobs: Vec<_> = attempts.iter().map(status::job).collect();
    Ok(HttpResponse::Ok().json(gather(&computed.input.experiment, &computed.input.measurements, &jobs)))
}
