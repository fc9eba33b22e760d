//! What lies below an experiment: trials, jobs, events, and the script of its job.

use actix_web::{HttpResponse, web};
use em_api::AttemptId;
use em_api::status::{EventList, JobList, TrialList};

use super::App;
use super::problem::Answer;
use crate::job;
use crate::store::status;

const EVENTS: i64 = 1_000;

pub(super) async fn trials(app: web::Data<App>, name: web::Path<String>) -> Answer {
    let stored = app.store.stored(&name).await?;
    let items = app.store.trials(stored.uid, stored.phase).await?;
    Ok(HttpResponse::Ok().json(TrialList { items }))
}

pub(super) async fn jobs(app: web::Data<App>, name: web::Path<String>) -> Answer {
    let stored = app.store.stored(&name).await?;
    let attempts = app.store.attempts(stored.uid).await?;
    Ok(HttpResponse::Ok().json(JobList { items: attempts.iter().map(status::job).collect() }))
}

/// The newest thousand, oldest first.
pub(super) async fn events(app: web::Data<App>, name: web::Path<String>) -> Answer {
    let stored = app.store.stored(&name).await?;
    Ok(HttpResponse::Ok().json(EventList { items: app.store.events(stored.uid, EVENTS).await? }))
}

/// The sbatch text of the last job, or of the one to come.
pub(super) async fn script(app: web::Data<App>, name: web::Path<String>) -> Answer {
    let stored = app.store.stored(&name).await?;
    let attempts = app.store.attempts(stored.uid).await?;
    let (shard, attempt) = match attempts.last() {
        Some(attempt) => (attempt.shard, attempt.id),
        None => {
            let shard = app.store.matrix(stored.uid).await?.first().map(|row| row.shard);
            (shard.unwrap_or_else(em_api::ShardId::generate), AttemptId::generate())
        }
    };
    let job_name = app.store.job_name(attempt);
    let script = job::script(&app.jobs, (&stored.name, stored.uid), &stored.spec, (shard, attempt), &job_name);
    Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(script.render()))
}
