//! `GET /openapi.json`: this API as an OpenAPI 3.1 document, made from the types and from what stands above each handler; `/docs` is a
//! page to read it and to try requests. Both hold no data, so anybody may have them, as the dashboard's files.

mod bodies;
mod page;
mod refusals;
mod submission;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::web::{self, Data, ServiceConfig};
use em_api::problem::Problem;
use serde_json::{Value, json};
use utoipa::OpenApi;

use super::App;
pub(super) use bodies::{Document, EventStream, File, Hint, NewExperiment, ReportEnding, ScrapeTargets, Text};

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(web::resource("/openapi.json").route(web::get().to(read)))
        .service(web::resource("/docs").route(web::get().to(page::to_page)))
        .service(web::resource("/docs/{path:.*}").route(web::get().to(page::asset)));
}

/// Read this document
///
/// OpenAPI 3.1. Open to everybody: it says what there is to ask, not what there is.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "readDocument",
    tag = "pages",
    responses((status = 200, description = "The document", body = Document))
)]
async fn read(app: Data<App>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(DOCUMENT.replace(COOKIE, &app.cookie))
}

/// Stands for the cookie's name, which holds the server's port.
const COOKIE: &str = "em_session_PORT";

static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_string());

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Embedding Meter",
        description = "Post an experiment, watch it run as Slurm jobs, read what it measured. Every refusal is `application/problem+json` \
                       with a stable `code`. Times are RFC 3339 in UTC. Wherever there is GET, there is HEAD, except that a link for signing in \
                       works only once."
    ),
    paths(
        super::experiments::list,
        super::experiments::create,
        super::experiments::read,
        super::experiments::change,
        super::experiments::delete,
        super::parts::trials,
        super::parts::jobs,
        super::events::events,
        super::parts::script,
        super::logs::logs,
        super::import::import_run,
        super::results::results,
        super::capsule::capsule,
        super::report::file,
        super::report::plot,
        super::cluster::read,
        super::cluster::hint,
        super::sessions::sign_in,
        super::sessions::sign_out,
        super::sessions::make_link,
        super::sessions::redeem,
        super::agent::claim,
        super::agent::records,
        super::agent::measurement,
        super::health::health,
        super::health::ready,
        super::scrape::own,
        super::scrape::targets,
        super::scrape::agent,
        super::pages::to_page,
        super::pages::asset,
        read,
        page::to_page,
        page::asset,
    ),
    components(schemas(Problem, ReportEnding)),
    tags(
        (name = "experiments", description = "What to measure, and how it goes"),
        (name = "results", description = "What was measured: numbers, reports, plots"),
        (name = "cluster", description = "What Slurm has"),
        (name = "sessions", description = "How a browser gets in"),
        (name = "agents", description = "What the agent in a job calls, with the token of its attempt"),
        (name = "monitoring", description = "For Prometheus and for supervisors"),
        (name = "pages", description = "The dashboard and this document"),
    )
)]
struct Api;

fn document() -> Value {
    let mut document = serde_json::to_value(Api::openapi()).expect("a document has string keys and serialises");
    document["components"]["securitySchemes"] = json!({
        "token": {
            "type": "http", "scheme": "bearer",
            "description": "A token of this server. Viewers read, submitters write; scrapers and hooks have tokens of their own.",
        },
        "session": {
            "type": "apiKey", "in": "cookie", "name": COOKIE,
            "description": "A browser's session. Requests that write must come from the server's own pages (`Origin`).",
        },
        "attempt": {"type": "http", "scheme": "bearer", "description": "The token of one attempt, from its job directory."},
    });
    submission::add(&mut document);
    refusals::add(&mut document);
    names(&mut document);
    document["paths"]["/slurm/hint"]["post"]["requestBody"]["required"] = json!(false);
    // Both go to the same place.
    document["paths"]["/ui"] = document["paths"]["/"].clone();
    document["paths"]["/ui"]["get"]["operationId"] = json!("homeOfPages");
    document
}

/// In every address alike.
fn names(document: &mut Value) {
    let items = document["paths"].as_object_mut().expect("utoipa wrote an object").values_mut();
    let operations = items.flat_map(|item| item.as_object_mut().into_iter().flat_map(|methods| methods.values_mut()));
    let parameters = operations.filter_map(|operation| operation.get_mut("parameters")?.as_array_mut()).flatten();
    for parameter in parameters.filter(|parameter| parameter["in"] == "path" && parameter["name"] == "name") {
        parameter["schema"]["pattern"] = json!(submission::LABEL);
    }
}
