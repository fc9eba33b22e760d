//! Results → what people read: HTML, Markdown, text, CSV, JSON, plots (DESIGN section 9). Pure: bytes in memory.
//!
//! `names` lists the files without making them; `tables` and `facts` say what stands in them, and `html`,
//! `markdown`, `text`, `csv`, `data` and `plots` write it.

mod csv;
mod data;
mod escape;
mod facts;
mod html;
mod markdown;
mod names;
mod plots;
mod tables;
#[cfg(test)]
mod tests;
mod text;

use em_api::Timestamp;
use em_api::results::Results;

use crate::results::ResultsInput;
use names::{Content, Entry};

/// One file of a report, by its path below `results/`.
#[derive(Clone, Debug)]
pub struct ReportFile {
    pub path: String,
    pub bytes: Vec<u8>,
}

/// All files of DESIGN section 9. CPU-bound (plots): call it on a blocking thread.
pub fn bundle(input: &ResultsInput, results: &Results) -> anyhow::Result<Vec<ReportFile>> {
    let entries = names::entries(input, results);
    let mut files = Vec::with_capacity(entries.len() + 1);
    for entry in &entries {
        files.push(ReportFile { path: entry.path.clone(), bytes: make(input, results, entry)? });
    }
    let index = data::index(input, results, &entries, &files)?;
    files.push(ReportFile { path: names::INDEX.to_owned(), bytes: index });
    Ok(files)
}

/// One file of the bundle alone (`report.html`, `plots/throughput_comparison.png`, …); `None` when there is no such file. Only
/// the index needs all the others, for their hashes.
pub fn file(input: &ResultsInput, results: &Results, path: &str) -> anyhow::Result<Option<ReportFile>> {
    if path == names::INDEX {
        return Ok(bundle(input, results)?.pop());
    }
    let Some(entry) = names::entries(input, results).into_iter().find(|entry| entry.path == path) else { return Ok(None) };
    let bytes = make(input, results, &entry)?;
    Ok(Some(ReportFile { path: entry.path, bytes }))
}

fn make(input: &ResultsInput, results: &Results, entry: &Entry) -> anyhow::Result<Vec<u8>> {
    Ok(match entry.content {
        Content::Trial(place) => data::trial(input, results, place)?,
        Content::Series(place) => data::series(input, place)?,
        Content::Cell(place) => data::cell(input, results, place)?,
        Content::Json => data::results(results)?,
        Content::Text => text::write(input, results).into_bytes(),
        Content::Html => html::write(input, results).into_bytes(),
        Content::Markdown => markdown::write(input, results).into_bytes(),
        Content::Csv => csv::write(results).into_bytes(),
        Content::Png(plot) => plot.png(input, results)?,
        Content::Svg(plot) => plot.svg(input, results).into_bytes(),
    })
}

/// `2026-11-24 04:10 UTC`.
fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}
