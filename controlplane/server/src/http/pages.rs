//! The dashboard's files, compiled in. They hold no data, so anybody may have them; what the page shows comes from the API.

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{self, Path, ServiceConfig};
use rust_embed::RustEmbed;

use super::problem::{Answer, Refusal};

/// Built by `make web`; a checkout without it still builds.
#[derive(RustEmbed)]
#[folder = "../../web/dist/"]
#[allow_missing = true]
struct Assets;

const INDEX: &str = "index.html";
/// Styles: the chart library sets some on its elements.
pub(super) const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const NOT_BUILT: &str = "<!doctype html><title>Embedding Meter</title><p>This server was built without the dashboard. \
                         Run <code>make web</code> in the source tree and build it again. The API works as it is.</p>";

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(web::resource("/").route(web::get().to(to_page)))
        .service(web::resource("/ui").route(web::get().to(to_page)))
        .service(web::resource("/ui/{path:.*}").route(web::get().to(asset)));
}

/// Go to the dashboard
#[utoipa::path(
    get,
    path = "/",
    operation_id = "home",
    tag = "pages",
    responses((status = 302, description = "On to `/ui/`", headers(("Location" = String)))),
)]
async fn to_page() -> HttpResponse {
    HttpResponse::Found().insert_header((header::LOCATION, "/ui/")).finish()
}

/// Read a file of the dashboard, or its page
///
/// They hold no data, so anybody may have them.
#[utoipa::path(
    get,
    path = "/ui/{path}",
    operation_id = "readPage",
    tag = "pages",
    params(("path" = String, Path, description = "Path of the file; may hold slashes", example = "index.html")),
    responses((status = 200, description = "The file, of the type that its ending says", content((super::openapi::Text = "text/html"), (super::openapi::File = "*/*")))),
)]
async fn asset(path: Path<String>) -> Answer {
    if let Some(file) = Assets::get(&path) {
        return Ok(show(&path, file));
    }
    // An address inside the page is the page's to understand; a file that is missing is missing.
    let is_file = path.rsplit('/').next().is_some_and(|last| last.contains('.'));
    match Assets::get(INDEX) {
        _ if is_file => Err(Refusal::not_found("such file of the dashboard")),
        Some(index) => Ok(show(INDEX, index)),
        None => Ok(HttpResponse::Ok().content_type("text/html; charset=utf-8").body(NOT_BUILT)),
    }
}

fn show(path: &str, file: rust_embed::EmbeddedFile) -> HttpResponse {
    // Names of built assets carry a hash of their content.
    let caching = if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    HttpResponse::Ok()
        .content_type(file.metadata.mimetype())
        .insert_header((header::CACHE_CONTROL, caching))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .body(file.data.into_owned())
}
