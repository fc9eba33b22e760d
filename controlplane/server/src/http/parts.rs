//! What stands below an experiment: trials, jobs, and the script that Slurm gets.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use em_api::experiment::Experiment;
use em_api::status::{JobList, TrialList};
use em_api::{AttemptId, ShardId};

use super::App;
use super::name::Name;
use super::problem::{Answer, Refusal};
use crate::job;
use crate::store::status;

/// List the trials of an experiment
#[utoipa::path(
    get,
    path = "/experiments/{name}/trials",
    operation_id = "listTrials",
    tag = "experiments",
    params(("name" = String, Path, description = "Name of the experiment", example = "demo")),
    responses((status = 200, description = "All trials", body = TrialList)),
    security(("token" = []), ("session" = [])),
)]
pub(super) async fn trials(app: Data<App>, name: Path<Name>) -> Answer {
    let stored = app.store.stored(&name).await?;
    Ok(HttpResponse::Ok().json(TrialList { items: app.store.trials(&stored).await? }))
}

/// List the jobs of an experiment, the first one first
#[utoipa::path(
    get,
    path = "/experiments/{name}/jobs",
    operation_id = "listJobs",
    tag = "experiments",
    params(("name" = String, Path, description = "Name of the experiment", example = "demo")),
    responses((status = 200, description = "All jobs", body = JobList)),
    security(("token" = []), ("session" = [])),
)]
pub(super) async fn jobs(app: Data<App>, name: Path<Name>) -> Answer {
    let stored = app.store.stored(&name).await?;
    let attempts = app.store.attempts(stored.uid).await?;
    Ok(HttpResponse::Ok().json(JobList { items: attempts.iter().map(status::job).collect() }))
}

/// Read the script of the newest job
///
/// Before there is a job, that of the first, with zeros for the attempt's id.
#[utoipa::path(
    get,
    path = "/experiments/{name}/script",
    operation_id = "readScript",
    tag = "experiments",
    params(("name" = String, Path, description = "Name of the experiment", example = "demo")),
    responses((status = 200, description = "As sbatch gets it", body = super::openapi::Text, content_type = "text/plain")),
    security(("token" = []), ("session" = [])),
)]
pub(super) async fn script(app: Data<App>, name: Path<Name>) -> Answer {
    let stored = app.store.stored(&name).await?;
    let newest = app.store.attempts(stored.uid).await?.pop();
    let (shard, attempt, job_name) = match newest {
        Some(attempt) => (attempt.shard, attempt.id, attempt.job_name),
        None => {
            let rows = app.store.matrix(stored.uid).await?;
            let first = rows.first().ok_or_else(|| Refusal::not_found("trial in this experiment"))?;
            let none = AttemptId(ulid::Ulid::nil());
            (first.shard, none, app.store.job_name(none))
        }
    };
    let script = job::script(&app.jobs, (&stored.name, stored.uid), &stored.spec, (shard, attempt), &job_name, None);
    Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(script.render()))
}

/// The script of the first job that an experiment would have, with zeros for ids that are made later.
pub(super) fn preview_script(app: &App, experiment: &Experiment) -> String {
    let (shard, attempt) = (ShardId(ulid::Ulid::nil()), AttemptId(ulid::Ulid::nil()));
    let owner = (experiment.metadata.name.as_str(), experiment.metadata.uid);
    job::script(&app.jobs, owner, &experiment.spec, (shard, attempt), &app.store.job_name(attempt), None).render()
}
