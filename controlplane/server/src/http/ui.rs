//! The dashboard: built assets compiled into the binary, or a page that says how to build them.

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use rust_embed::RustEmbed;

use super::problem::{Answer, ApiError};

#[derive(RustEmbed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Assets;

const INDEX: &str = "index.html";
/// Scripts only from us; styles may be inline, as charts set them.
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Embedding Meter</title>\
                         <p>The dashboard is not built into this binary. Run <code>make web</code> and build again; the API and \
                         <code>emctl</code> work without it.</p></html>\n";

pub(super) async fn home() -> HttpResponse {
    HttpResponse::TemporaryRedirect().insert_header((header::LOCATION, "/ui/")).finish()
}

/// A file of the dashboard. Paths without an ending are the page's own routes.
pub(super) async fn page(path: web::Path<String>) -> Answer {
    let path = path.into_inner();
    let wanted = if path.is_empty() { INDEX } else { path.as_str() };
    let file = Assets::get(wanted).map(|file| (wanted, file));
    let route = !wanted.rsplit('/').next().unwrap_or_default().contains('.');
    let found = file.or_else(|| Assets::get(INDEX).filter(|_| route).map(|file| (INDEX, file)));
    match found {
        Some((name, file)) => {
            // Vite puts a hash into the names of its assets.
            let lasting = name.starts_with("assets/");
            let cache = if lasting { "public, max-age=31536000, immutable" } else { "no-cache" };
            Ok(answer(file.metadata.mimetype(), cache).body(file.data.into_owned()))
        }
        None if route || wanted == INDEX => Ok(answer("text/html", "no-cache").body(NOT_BUILT)),
        None => Err(ApiError::not_found("the dashboard has no such file")),
    }
}

fn answer(media: &str, cache: &'static str) -> actix_web::HttpResponseBuilder {
    let text = media.starts_with("text/") || media.ends_with("javascript");
    let media = if text { format!("{media}; charset=utf-8") } else { media.to_owned() };
    let mut response = HttpResponse::Ok();
    response
        .content_type(media)
        .insert_header((header::CACHE_CONTROL, cache))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"));
    response
}
