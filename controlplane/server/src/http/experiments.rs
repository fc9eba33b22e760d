//! `/experiments`: create, list, read, change, delete. The acknowledgement follows the commit.

use std::path::PathBuf;

use actix_web::http::{StatusCode, header};
use actix_web::middleware::from_fn;
use actix_web::web::{self, Bytes, Data, Path, PayloadConfig, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use em_api::experiment::{Created, Experiment, ExperimentList};
use jiff::SignedDuration;
use serde::Deserialize;

use super::access::{self, Caller};
use super::name::Name;
use super::preconditions::{has_already, if_match};
use super::problem::{Answer, Refusal};
use super::{App, cursor, events, idempotency, logs, parts, patch, report, results, selector, watch};
use crate::admit::{Admitted, NameChoice, admit, cluster_warnings, parse_body};
use crate::job;
use crate::store::experiments::{Creation, measured};
use crate::store::{self, Store, now};

/// The largest experiment that anybody wrote by hand has a few kilobytes.
const BODY_BYTES: usize = 1 << 20;
/// Partitions and nodes change in the course of a day.
const OLDEST_LOOK: SignedDuration = SignedDuration::from_mins(15);
const DRY_ONLY: &str = "goes with dryRun=true only: nothing is stored";
/// A browser may keep an experiment, and asks each time whether it is still the same.
const ASK_AGAIN: (header::HeaderName, &str) = (header::CACHE_CONTROL, "private, no-cache");
const DEFAULT_LIMIT: u32 = 100;
const LARGEST_LIMIT: u32 = 500;

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(
        web::scope("/experiments")
            .wrap(from_fn(access::people))
            .app_data(PayloadConfig::new(BODY_BYTES))
            .service(web::resource("").route(web::get().to(list)).route(web::post().to(create)))
            .service(
                web::resource("/{name}").route(web::get().to(read)).route(web::patch().to(change)).route(web::delete().to(delete)),
            )
            .service(web::resource("/{name}/trials").route(web::get().to(parts::trials)))
            .service(web::resource("/{name}/jobs").route(web::get().to(parts::jobs)))
            .service(web::resource("/{name}/events").route(web::get().to(events::events)))
            .service(web::resource("/{name}/script").route(web::get().to(parts::script)))
            .service(web::resource("/{name}/logs").route(web::get().to(logs::logs)))
            .service(web::resource("/{name}/results").route(web::get().to(results::results)))
            .service(web::resource("/{name}/report.{ending}").route(web::get().to(report::file)))
            .service(web::resource("/{name}/plots/{file}").route(web::get().to(report::plot))),
    );
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateQuery {
    dry_run: Option<bool>,
    /// With `dryRun`: script and plan for a run in this folder, without a server.
    standalone: Option<PathBuf>,
}

async fn create(app: Data<App>, Caller(who): Caller, request: HttpRequest, query: Query<CreateQuery>, body: Bytes) -> Answer {
    let media_type = content_type(&request);
    let dry_run = query.dry_run.unwrap_or(false);
    let key = idempotency::key(&request, media_type.unwrap_or_default(), &body)?.filter(|_| !dry_run);
    let _turn = key.as_ref().map(|key| app.in_flight.enter(&who.owner, key)).transpose()?;
    if let Some(key) = &key
        && let Some(kept) = app.store.kept_answer(&who.owner, key).await?
    {
        return Ok(created(kept.new, &kept.answer));
    }
    let value = parse_body(&body, media_type)?;
    let mut admitted = admit(&value).map_err(|errors| Refusal::fields("invalid_spec", "the experiment", errors))?;
    admitted.warnings.extend(surprises(&app, &admitted).await);
    if let Some(dir) = &query.standalone {
        let standalone =
            if dry_run { job::standalone(&app.jobs, Store::preview(&admitted, &who.owner), dir) } else { Err(DRY_ONLY.to_owned()) };
        let (experiment, plan, script) =
            standalone.map_err(|detail| Refusal::bad_request("invalid_query", format!("standalone: {detail}")))?;
        let (script, plan) = (Some(script.render()), Some(plan));
        return Ok(HttpResponse::Ok().json(Created { experiment, warnings: admitted.warnings, script, plan }));
    }
    if dry_run {
        let experiment = preview(&app, &admitted, &who.owner).await?;
        let script = Some(parts::preview_script(&app, &experiment));
        return Ok(HttpResponse::Ok().json(Created { experiment, warnings: admitted.warnings, script, plan: None }));
    }
    if let Some(key) = &key {
        let kept = app.store.create_once(&admitted, &who.owner, key).await?;
        return Ok(created(kept.new, &kept.answer));
    }
    let (new, experiment) = match app.store.create_experiment(&admitted, &who.owner).await? {
        Creation::New(experiment) => (true, experiment),
        Creation::Existing(experiment) => (false, experiment),
    };
    Ok(created(new, &Created { experiment, warnings: admitted.warnings, script: None, plan: None }))
}

/// 201 with the address, or 200 for one that was there.
fn created(new: bool, answer: &Created) -> HttpResponse {
    let mut response = if new { HttpResponse::Created() } else { HttpResponse::Ok() };
    if new {
        response.insert_header(location(&answer.experiment));
    }
    response.insert_header(etag(&answer.experiment)).json(answer)
}

/// What the cluster does not have, as far as it is known: an old look warns of nothing.
async fn surprises(app: &App, admitted: &Admitted) -> Vec<String> {
    let known = app.cluster.look().await.learned;
    let recent = known.filter(|learned| now().duration_since(learned.at) < OLDEST_LOOK);
    recent.map(|learned| cluster_warnings(&admitted.spec.slurm, admitted.estimated_seconds, &learned.view)).unwrap_or_default()
}

/// What a creation would answer, and whether it would be refused.
async fn preview(app: &App, admitted: &Admitted, owner: &str) -> Answer<Experiment> {
    if let NameChoice::Given(name) = &admitted.name
        && let Some(held) = app.store.experiment_if_any(name).await?
    {
        if held.metadata.deleted_at.is_some() {
            return Err(store::Error::BeingDeleted(held.metadata.name).into());
        }
        if measured(&held.spec) != measured(&admitted.spec) {
            return Err(store::Error::NameTaken(Box::new(held)).into());
        }
        return Ok(held);
    }
    Ok(Store::preview(admitted, owner))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListQuery {
    limit: Option<u32>,
    #[serde(rename = "continue")]
    next: Option<String>,
    label_selector: Option<String>,
    field_selector: Option<String>,
    watch: Option<bool>,
}

async fn list(app: Data<App>, request: HttpRequest, query: Query<ListQuery>) -> Answer {
    let filter = selector::read(query.label_selector.as_deref(), query.field_selector.as_deref())?;
    if query.watch.unwrap_or(false) {
        return watch::watch(app, &request, filter).await;
    }
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=LARGEST_LIMIT).contains(&limit) {
        return Err(Refusal::bad_request("invalid_query", format!("limit is a number from 1 to {LARGEST_LIMIT}")));
    }
    let after = query.next.as_deref().map(cursor::read).transpose()?.unwrap_or_default();
    let page = app.store.page(&filter, &after, limit as usize).await?;
    let next = page.next.as_deref().map(cursor::write);
    Ok(HttpResponse::Ok().json(ExperimentList { items: app.store.complete_all(page.items).await?, next }))
}

async fn read(app: Data<App>, request: HttpRequest, name: Path<Name>) -> Answer {
    let stored = app.store.stored(&name).await?;
    let mut response = HttpResponse::Ok();
    if has_already(&request, stored.resource_version.cast_unsigned())? {
        response.status(StatusCode::NOT_MODIFIED).insert_header(etag_of(stored.resource_version.cast_unsigned()));
        return Ok(response.insert_header(ASK_AGAIN).finish());
    }
    response.insert_header(ASK_AGAIN);
    Ok(shown(response, &app.store.complete(stored).await?))
}

async fn change(app: Data<App>, Caller(who): Caller, request: HttpRequest, name: Path<Name>, body: Bytes) -> Answer {
    let if_match = if_match(&request)?;
    let stored = app.store.stored(&name).await?;
    let patch = patch::read(&parse_body(&body, content_type(&request))?, &stored)?;
    let changed = app.store.patch_experiment(&name, &patch, if_match.as_deref(), &who.owner).await?;
    Ok(shown(HttpResponse::Ok(), &changed))
}

async fn delete(app: Data<App>, Caller(who): Caller, request: HttpRequest, name: Path<Name>) -> Answer {
    let if_match = if_match(&request)?;
    let deleted = app.store.delete_experiment(&name, if_match.as_deref(), &who.owner).await?;
    Ok(shown(HttpResponse::Accepted(), &deleted))
}

fn shown(mut response: HttpResponseBuilder, experiment: &Experiment) -> HttpResponse {
    response.insert_header(etag(experiment)).json(experiment)
}

pub(super) fn location(experiment: &Experiment) -> (header::HeaderName, String) {
    (header::LOCATION, format!("/experiments/{}", experiment.metadata.name))
}

fn etag(experiment: &Experiment) -> (header::HeaderName, String) {
    etag_of(experiment.metadata.resource_version)
}

fn etag_of(version: u64) -> (header::HeaderName, String) {
    (header::ETAG, format!("\"{version}\""))
}

/// `None`: not said. What cannot be read is some other type than ours.
pub(super) fn content_type(request: &HttpRequest) -> Option<&str> {
    request.headers().get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or("unreadable"))
}
