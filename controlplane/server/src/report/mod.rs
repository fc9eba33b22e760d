//! Results → what people read: HTML, Markdown, text, CSV, JSON, plots (DESIGN section 9). Pure: bytes in memory.

use em_api::results::Results;

use crate::results::ResultsInput;

/// One file of a report, by its path below `results/`.
#[derive(Clone, Debug)]
pub struct ReportFile {
    pub path: String,
    pub bytes: Vec<u8>,
}

/// All files of DESIGN section 9. CPU-bound (plots): call it on a blocking thread.
pub fn bundle(input: &ResultsInput, results: &Results) -> anyhow::Result<Vec<ReportFile>> {
    let _ = (input, results);
    todo!("written by the report part")
}

/// One file of the bundle alone (`report.html`, `plots/throughput_comparison.png`, …); `None` when there is no such file.
pub fn file(input: &ResultsInput, results: &Results, path: &str) -> anyhow::Result<Option<ReportFile>> {
    Ok(bundle(input, results)?.into_iter().find(|file| file.path == path))
}
