//! `/experiments`: create, list, read, change, delete. The acknowledgement follows the commit.

use std::path::PathBuf;

use actix_web::http::{StatusCode, header};
use actix_web::middleware::from_fn;
use actix_web::web::{self, Bytes, Data, Path, PayloadConfig, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use em_api::experiment::{Created, Experiment, ExperimentList, ExperimentPatch};
use jiff::SignedDuration;
use serde::Deserialize;
use utoipa::IntoParams;

use super::access::{self, Caller};
use super::name::Name;
use super::preconditions::{has_already, if_match};
use super::problem::{Answer, Refusal};
use super::stream::last_event_id;
use super::{App, capsule, cursor, dry_run, events, idempotency, logs, parts, patch, report, results, selector, watch};
use crate::admit::{Admitted, admit, cluster_warnings, parse_body};
use crate::job;
use crate::store::experiments::Creation;
use crate::store::{Store, now};

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
            .service(web::resource("/{name}/capsule").route(web::get().to(capsule::capsule)))
            .service(web::resource("/{name}/report.{ending}").route(web::get().to(report::file)))
            .service(web::resource("/{name}/plots/{file}").route(web::get().to(report::plot))),
    );
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateQuery {
    /// Store nothing; answer what a creation would.
    dry_run: Option<bool>,
    /// With `dryRun`: script and plan for a run in this folder, without a server.
    #[param(value_type = Option<String>, pattern = "^/", example = "/shared/run")]
    standalone: Option<PathBuf>,
}

/// Create an experiment, or try one out
///
/// The body is read with all mistakes at once; fields left out get their defaults, which the answer shows. The same experiment posted
/// again answers 200 and changes nothing. With `dryRun=true` nothing is stored and the answer carries the script of the first job.
#[utoipa::path(
    post,
    path = "/experiments",
    operation_id = "createExperiment",
    tag = "experiments",
    params(
        CreateQuery,
        (
            "Idempotency-Key" = Option<String>,
            Header,
            nullable = false,
            description = "One word of the caller's, new for each experiment: a request repeated with it is carried out once",
            pattern = "^[!-~]{1,255}$",
        ),
    ),
    request_body(content((super::openapi::NewExperiment = "application/json"), (super::openapi::NewExperiment = "application/yaml"))),
    responses(
        (status = 201, description = "Stored", body = Created, headers(("Location" = String), ("ETag" = String))),
        (status = 200, description = "It is there already, or this was a dry run", body = Created, headers(("ETag" = String))),
        (status = 409, description = "`already_exists` with another spec, `being_deleted`, `idempotency_in_flight`"),
        (status = 413, description = "`too_large`"),
        (status = 415, description = "`unsupported_media_type`, `unsupported_encoding`"),
        (status = 422, description = "`invalid_spec`: one entry of `errors` a mistake; `idempotency_key_reused`"),
    ),
    security(("token" = []), ("session" = [])),
)]
async fn create(app: Data<App>, Caller(who): Caller, request: HttpRequest, query: Query<CreateQuery>, body: Bytes) -> Answer {
    let media_type = content_type(&request);
    let dry = query.dry_run.unwrap_or(false);
    let key = idempotency::key(&request, media_type.unwrap_or_default(), &body)?.filter(|_| !dry);
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
            if dry { job::standalone(&app.jobs, Store::preview(&admitted, &who.owner), dir) } else { Err(DRY_ONLY.to_owned()) };
        let (experiment, plan, script) =
            standalone.map_err(|detail| Refusal::bad_request("invalid_query", format!("standalone: {detail}")))?;
        let (script, plan) = (Some(script.render()), Some(plan));
        return Ok(HttpResponse::Ok().json(Created { experiment, warnings: admitted.warnings, script, trials: Vec::new(), plan }));
    }
    if dry {
        let experiment = dry_run::preview(&app, &admitted, &who.owner).await?;
        admitted.warnings.extend(unchanged(&admitted, &experiment));
        admitted.warnings.extend(dry_run::missing_inputs(&app, &experiment.spec).await);
        let (script, trials) = (Some(parts::preview_script(&app, &experiment)), dry_run::to_come(&experiment.spec));
        return Ok(HttpResponse::Ok().json(Created { experiment, warnings: admitted.warnings, script, trials, plan: None }));
    }
    if let Some(key) = &key {
        let mut kept = app.store.create_once(&admitted, &who.owner, key).await?;
        kept.answer.warnings.extend(unchanged(&admitted, &kept.answer.experiment));
        return Ok(created(kept.new, &kept.answer));
    }
    let (new, experiment) = match app.store.create_experiment(&admitted, &who.owner).await? {
        Creation::New(experiment) => (true, experiment),
        Creation::Existing(experiment) => (false, experiment),
    };
    admitted.warnings.extend(unchanged(&admitted, &experiment));
    Ok(created(new, &Created { experiment, warnings: admitted.warnings, script: None, trials: Vec::new(), plan: None }))
}

/// Of an experiment that was there: what was posted of it that may change, differs, and was left as it is.
fn unchanged(admitted: &Admitted, held: &Experiment) -> Option<String> {
    let (posted, spec) = (&admitted.spec, &held.spec);
    let differing = [
        ("metadata.labels", admitted.labels != held.metadata.labels),
        ("metadata.annotations", admitted.annotations != held.metadata.annotations),
        ("spec.desired", posted.desired != spec.desired),
        ("spec.retries", posted.retries != spec.retries),
        ("spec.priority", posted.priority != spec.priority),
        ("spec.ttl", posted.ttl != spec.ttl),
        ("spec.logsTtl", posted.logs_ttl != spec.logs_ttl),
    ];
    let fields: Vec<&str> = differing.iter().filter(|(_, differs)| *differs).map(|(field, _)| *field).collect();
    let (name, fields) = (&held.metadata.name, (!fields.is_empty()).then(|| fields.join(", "))?);
    Some(format!(
        "experiment {name} was there already and was not changed: {fields} differ; PATCH /experiments/{name} changes them"
    ))
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

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListQuery {
    /// Experiments a page; 100 when left out.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// `continue` of the page before.
    #[serde(rename = "continue")]
    next: Option<String>,
    /// As in Kubernetes: `team=search,stage!=test,tier in (a,b),zone notin (x),gpu,!draft`.
    #[param(example = "team=search")]
    label_selector: Option<String>,
    /// By `metadata.name`, `metadata.owner`, `spec.model.id`, `status.phase`: `status.phase=Running,metadata.owner!=ann`.
    #[param(example = "status.phase=Running")]
    field_selector: Option<String>,
    /// Keep the answer open as server-sent events `added`, `modified`, `deleted`, each with its resource version as id.
    watch: Option<bool>,
}

/// List experiments in the order of their names, or watch them
///
/// A page holds `continue` when there is another. With `watch=true` the answer is a stream of events that begins with what there is, or
/// behind the version in `Last-Event-ID`.
#[utoipa::path(
    get,
    path = "/experiments",
    operation_id = "listExperiments",
    tag = "experiments",
    params(ListQuery, ("Last-Event-ID" = Option<u64>, Header, nullable = false, description = "With `watch`: the id of the last event seen")),
    responses(
        (status = 200, description = "A page, or with `watch=true` a stream", content((ExperimentList = "application/json"), (super::openapi::EventStream = "text/event-stream"))),
        (status = 410, description = "`expired`: watch again without Last-Event-ID"),
    ),
    security(("token" = []), ("session" = [])),
)]
async fn list(app: Data<App>, request: HttpRequest, query: Query<ListQuery>) -> Answer {
    let filter = selector::read(query.label_selector.as_deref(), query.field_selector.as_deref())?;
    last_event_id(&request)?;
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

/// Read an experiment
///
/// Complete: with all defaults, the server's own fields and the status.
#[utoipa::path(
    get,
    path = "/experiments/{name}",
    operation_id = "readExperiment",
    tag = "experiments",
    params(
        ("name" = String, Path, description = "Name of the experiment", example = "demo"),
        ("If-None-Match" = Option<String>, Header, nullable = false, description = "ETags that the caller has", example = "\"7\""),
    ),
    responses(
        (status = 200, description = "The experiment", body = Experiment, headers(("ETag" = String))),
        (status = 304, description = "The caller has it already", headers(("ETag" = String))),
    ),
    security(("token" = []), ("session" = [])),
)]
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

/// Change what may change after creation
///
/// A JSON merge patch of labels, annotations and `spec.desired`, `retries`, `priority`, `ttl`, `logsTtl`. `desired: Suspended`, `Run` and
/// `Cancelled` suspend, resume and cancel. What is measured is fixed: another value there is refused.
#[utoipa::path(
    patch,
    path = "/experiments/{name}",
    operation_id = "changeExperiment",
    tag = "experiments",
    params(
        ("name" = String, Path, description = "Name of the experiment", example = "demo"),
        ("If-Match" = Option<String>, Header, nullable = false, description = "Change it only if this is its ETag, as `\"7\"`", example = "*"),
    ),
    request_body(
        content(
            (ExperimentPatch = "application/merge-patch+json"),
            (ExperimentPatch = "application/json"),
            (ExperimentPatch = "application/yaml"),
        )
    ),
    responses(
        (status = 200, description = "As it is now", body = Experiment, headers(("ETag" = String))),
        (status = 409, description = "`spec_immutable`, `already_ended`, `being_deleted`"),
        (status = 412, description = "`precondition_failed`: it was changed in between"),
        (status = 413, description = "`too_large`"),
        (status = 415, description = "`unsupported_media_type`, `unsupported_encoding`"),
        (status = 422, description = "`invalid_patch`: one entry of `errors` a mistake"),
    ),
    security(("token" = []), ("session" = [])),
)]
async fn change(app: Data<App>, Caller(who): Caller, request: HttpRequest, name: Path<Name>, body: Bytes) -> Answer {
    let if_match = if_match(&request)?;
    let stored = app.store.stored(&name).await?;
    let patch = patch::read(&parse_body(&body, content_type(&request))?, &stored)?;
    let changed = app.store.patch_experiment(&name, &patch, if_match.as_deref(), &who.owner).await?;
    Ok(shown(HttpResponse::Ok(), &changed))
}

/// Delete an experiment
///
/// Its jobs are cancelled first; it is gone when none is left. Asking again does no harm.
#[utoipa::path(
    delete,
    path = "/experiments/{name}",
    operation_id = "deleteExperiment",
    tag = "experiments",
    params(
        ("name" = String, Path, description = "Name of the experiment", example = "demo"),
        ("If-Match" = Option<String>, Header, nullable = false, description = "Delete it only if this is its ETag, as `\"7\"`", example = "*"),
    ),
    responses(
        (status = 202, description = "It is being deleted", body = Experiment, headers(("ETag" = String))),
        (status = 412, description = "`precondition_failed`: it was changed in between"),
    ),
    security(("token" = []), ("session" = [])),
)]
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
