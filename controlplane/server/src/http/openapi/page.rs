//! `/docs`: Swagger UI, compiled in. It fetches nothing from elsewhere and runs under the dashboard's policy.

use std::sync::{Arc, LazyLock};

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::Path;
use utoipa_swagger_ui::Config;

use super::{File, Text};
use crate::http::pages::POLICY;
use crate::http::problem::{Answer, Refusal};

static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    let config = Config::from("/openapi.json").use_base_layout().validator_url("none").display_request_duration(true);
    Arc::new(config.deep_linking(true).doc_expansion("list").default_models_expand_depth(0))
});

/// Go to the page of this document
#[utoipa::path(
    get,
    path = "/docs",
    operation_id = "homeOfDocs",
    tag = "pages",
    responses((status = 302, description = "On to `/docs/`", headers(("Location" = String))))
)]
pub(super) async fn to_page() -> HttpResponse {
    HttpResponse::Found().insert_header((header::LOCATION, "/docs/")).finish()
}

/// Read this document as a page, or a file of it
#[utoipa::path(
    get,
    path = "/docs/{path}",
    operation_id = "readDocs",
    tag = "pages",
    params(("path" = String, Path, description = "Name of the file", example = "index.html")),
    responses((status = 200, description = "The file, of the type that its ending says", content((Text = "text/html"), (File = "*/*"))))
)]
pub(super) async fn asset(path: Path<String>) -> Answer {
    let file = utoipa_swagger_ui::serve(&path, CONFIG.clone()).map_err(|error| Refusal::internal("showing the API", &error))?;
    let file = file.ok_or_else(|| Refusal::not_found("such file of the API's page"))?;
    Ok(HttpResponse::Ok()
        .content_type(file.content_type)
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .body(file.bytes.into_owned()))
}
