//! `GET /experiments/{name}/report.{ending}` and `/plots/{file}`: single files of the report, or all of them as a zip.

use std::io::{Cursor, Write as _};
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{Data, Path};
use em_api::results::Results;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::App;
use super::name::Name;
use super::problem::{Answer, Refusal};
use super::results::{Computed, blocking, computed};
use crate::report::{self, ReportFile};

/// A report is one file without scripts; should a text of it ever become one, it does nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox allow-popups";

/// Read the report in one of its forms
#[utoipa::path(
    get,
    path = "/experiments/{name}/report.{ending}",
    operation_id = "readReport",
    tag = "results",
    params(("name" = String, Path, description = "Name of the experiment", example = "demo"), ("ending" = super::openapi::ReportEnding, Path, description = "Which form; `zip` holds all files")),
    responses(
        (
            status = 200,
            description = "The report",
            content(
                (super::openapi::Text = "text/html"),
                (super::openapi::Text = "text/markdown"),
                (super::openapi::Text = "text/plain"),
                (super::openapi::Text = "text/csv"),
                (Results = "application/json"),
                (super::openapi::File = "application/zip"),
            )
        ),
    ),
    security(("token" = []), ("session" = [])),
)]
pub(super) async fn file(app: Data<App>, path: Path<(Name, String)>) -> Answer {
    let (name, ending) = path.into_inner();
    let (file, kind) = match ending.as_str() {
        "html" => ("report.html", "text/html; charset=utf-8"),
        "md" => ("report.md", "text/markdown; charset=utf-8"),
        "txt" => ("summary_report.txt", "text/plain; charset=utf-8"),
        "json" => ("results.json", "application/json"),
        "csv" => ("results.csv", "text/csv; charset=utf-8"),
        "zip" => return all(&app, &name).await,
        _ => return Err(Refusal::not_found("such report; there are html, md, txt, json, csv and zip")),
    };
    let computed = computed(&app, &name).await?;
    let made = one(computed, file.to_owned()).await?.ok_or_else(|| Refusal::not_found(format_args!("{file} in this report")))?;
    Ok(show(made, kind))
}

/// Read a plot of the report
#[utoipa::path(
    get,
    path = "/experiments/{name}/plots/{file}",
    operation_id = "readPlot",
    tag = "results",
    params(("name" = String, Path, description = "Name of the experiment", example = "demo"), ("file" = String, Path, description = "Name of the plot, with `.png` or `.svg`", example = "throughput_comparison.svg")),
    responses((status = 200, description = "The plot", content((super::openapi::File = "image/png"), (super::openapi::Text = "image/svg+xml")))),
    security(("token" = []), ("session" = [])),
)]
pub(super) async fn plot(app: Data<App>, path: Path<(Name, String)>) -> Answer {
    let (name, plot) = path.into_inner();
    let kind = match plot.rsplit_once('.') {
        Some((_, "png")) => "image/png",
        Some((_, "svg")) => "image/svg+xml",
        _ => return Err(Refusal::not_found("such plot; plots end in .png or .svg")),
    };
    let computed = computed(&app, &name).await?;
    let made = one(computed, format!("plots/{plot}")).await?;
    Ok(show(made.ok_or_else(|| Refusal::not_found("such plot; the report shows which there are"))?, kind))
}

async fn one(computed: Arc<Computed>, path: String) -> Answer<Option<ReportFile>> {
    blocking("writing a report", move || report::file(&computed.input, &computed.results, &path)).await
}

fn show(file: ReportFile, kind: &str) -> HttpResponse {
    HttpResponse::Ok().content_type(kind).insert_header((header::CONTENT_SECURITY_POLICY, POLICY)).body(file.bytes)
}

async fn all(app: &App, name: &str) -> Answer {
    let computed = computed(app, name).await?;
    let file = format!("attachment; filename=\"{}-report.zip\"", computed.results.experiment);
    let zip = blocking("writing a report", move || zipped(&report::bundle(&computed.input, &computed.results)?)).await?;
    Ok(HttpResponse::Ok().content_type("application/zip").insert_header((header::CONTENT_DISPOSITION, file)).body(zip))
}

fn zipped(files: &[ReportFile]) -> anyhow::Result<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for file in files {
        zip.start_file(file.path.as_str(), SimpleFileOptions::default())?;
        zip.write_all(&file.bytes)?;
    }
    Ok(zip.finish()?.into_inner())
}
