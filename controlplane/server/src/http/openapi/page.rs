//! `/docs`: Swagger UI, compiled in. It fetches nothing from elsewhere and runs under the dashboard's policy.

use std::collections::HashMap;
use std::io::{Cursor, Read};
use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{Bytes, Path};
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

use super::{File, Text};
use crate::http::pages::POLICY;
use crate::http::problem::{Answer, Refusal};

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
/// What the page asks for, out of the release.
const FILES: [(&str, &str); 7] = [
    ("index.html", HTML),
    ("index.css", STYLE),
    ("swagger-ui.css", STYLE),
    ("swagger-ui-bundle.js", SCRIPT),
    ("swagger-ui-standalone-preset.js", SCRIPT),
    ("favicon-16x16.png", "image/png"),
    ("favicon-32x32.png", "image/png"),
];
/// In place of the release's own, which shows a pet shop.
const START: (&str, &str) = ("swagger-initializer.js", include_str!("start.js"));

static UNPACKED: LazyLock<HashMap<&str, (&str, Bytes)>> = LazyLock::new(|| {
    let mut zip = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED)).expect("the crate holds a zip");
    let names: Vec<String> = zip.file_names().map(str::to_owned).collect();
    let mut read = |wanted: &str| {
        let name = names.iter().find(|name| name.ends_with(&format!("/dist/{wanted}")) && name.matches('/').count() == 2)?;
        let mut bytes = Vec::new();
        zip.by_name(name).ok()?.read_to_end(&mut bytes).ok()?;
        Some(Bytes::from(bytes))
    };
    let unpacked = FILES.into_iter().filter_map(|(name, kind)| Some((name, (kind, read(name)?))));
    unpacked.chain([(START.0, (SCRIPT, Bytes::from_static(START.1.as_bytes())))]).collect()
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
    let name = if path.is_empty() { "index.html" } else { path.as_str() };
    let (kind, bytes) = UNPACKED.get(name).ok_or_else(|| Refusal::not_found("such file of the API's page"))?;
    Ok(HttpResponse::Ok()
        .content_type(*kind)
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .body(bytes.clone()))
}
