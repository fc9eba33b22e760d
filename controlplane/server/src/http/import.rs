//! `POST /import`: takes in what a run without a server measured.

use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Bytes, Data, PayloadConfig, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use em_api::experiment::Created;
use em_api::problem::FieldError;
use serde::Deserialize;
use utoipa::IntoParams;

use super::access::{self, Caller};
use super::experiments::content_type;
use super::problem::{Answer, Refusal};
use super::results::blocking;
use super::{App, experiments};
use crate::admit::{NameChoice, name_error};
use crate::import::{Import, ImportError, LARGEST_ZIP};
use crate::store::experiments::Creation;

pub(super) fn routes(config: &mut ServiceConfig) {
    let import = web::resource("/import").wrap(from_fn(access::people)).app_data(PayloadConfig::new(LARGEST_ZIP));
    config.service(import.route(web::post().to(import_run)));
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ImportQuery {
    /// Instead of the experiment's own name.
    name: Option<String>,
}

/// Take in what a run without a server measured
///
/// The body is a zip of the run's folder.
#[utoipa::path(
    post,
    path = "/import",
    operation_id = "importRun",
    tag = "experiments",
    params(ImportQuery),
    request_body(content = super::openapi::File, content_type = "application/zip"),
    responses(
        (status = 201, description = "Stored", body = Created, headers(("Location" = String))),
        (status = 200, description = "It is there already", body = Created, headers(("Location" = String))),
        (status = 409, description = "`already_exists` with another spec, `being_deleted`"),
        (status = 413, description = "`too_large`"),
        (status = 415, description = "`unsupported_media_type`, `unsupported_encoding`"),
        (status = 422, description = "`invalid_spec`, `invalid_query`"),
    ),
    security(("token" = []), ("session" = [])),
)]
async fn import_run(app: Data<App>, Caller(who): Caller, request: HttpRequest, query: Query<ImportQuery>, body: Bytes) -> Answer {
    if !matches!(content_type(&request), None | Some("application/zip" | "application/octet-stream")) {
        let detail = "send a zip file (header Content-Type: application/zip)";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail));
    }
    let read = blocking("reading an import", move || Ok(Import::read(&body))).await?;
    let mut import = read.map_err(refusal)?;
    if let Some(name) = &query.name {
        import.admitted.name = renamed(name)?;
    }
    let warnings = import.admitted.warnings.clone();
    let (mut response, experiment) = match app.store.import(&import, &who.owner).await? {
        Creation::New(experiment) => (HttpResponse::Created(), experiment),
        Creation::Existing(experiment) => (HttpResponse::Ok(), experiment),
    };
    response.insert_header(experiments::location(&experiment));
    Ok(response.json(Created { experiment, warnings, script: None, trials: Vec::new(), plan: None }))
}

fn renamed(name: &str) -> Answer<NameChoice> {
    match name_error(name) {
        Some(message) => Err(Refusal::fields("invalid_query", "the name", vec![FieldError::new("name", message)])),
        None => Ok(NameChoice::Given(name.to_owned())),
    }
}

fn refusal(error: ImportError) -> Refusal {
    match error {
        ImportError::Spec(errors) => Refusal::fields("invalid_spec", "the experiment", errors),
        other => Refusal::bad_request("invalid_import", other.to_string()),
    }
}
