//! The files of a report by name, cheaply: nothing is written here. The proof of concept's names are kept.

use std::collections::BTreeSet;

use em_api::measurement::Measurement;
use em_api::results::{Cell, Results};
use em_api::{Timestamp, TrialId};

use super::plots::Plot;
use crate::results::ResultsInput;

pub(super) const INDEX: &str = "results_index.json";

/// What a file holds; numbers are places in the input's measurements or the results' cells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Content {
    Trial(usize),
    Series(usize),
    Cell(usize),
    Text,
    Html,
    Markdown,
    Csv,
    Json,
    Png(Plot),
    Svg(Plot),
}

impl Content {
    /// The word of the index.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Trial(_) => "trial",
            Self::Series(_) => "series",
            Self::Cell(_) => "cell",
            Self::Text => "summary",
            Self::Html | Self::Markdown => "report",
            Self::Csv | Self::Json => "results",
            Self::Png(_) | Self::Svg(_) => "plot",
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) path: String,
    pub(super) trial: Option<TrialId>,
    pub(super) content: Content,
}

/// All files but the index, in the order of reading.
pub(super) fn entries(input: &ResultsInput, results: &Results) -> Vec<Entry> {
    let fixed = [
        ("report.html", Content::Html),
        ("report.md", Content::Markdown),
        ("summary_report.txt", Content::Text),
        ("results.csv", Content::Csv),
        ("results.json", Content::Json),
    ];
    let mut entries: Vec<Entry> =
        fixed.into_iter().map(|(path, content)| Entry { path: path.to_owned(), trial: None, content }).collect();
    for plot in Plot::ALL {
        entries.push(Entry { path: format!("plots/{}.png", plot.stem()), trial: None, content: Content::Png(plot) });
        entries.push(Entry { path: format!("plots/{}.svg", plot.stem()), trial: None, content: Content::Svg(plot) });
    }
    for (place, cell) in results.cells.iter().enumerate() {
        if let Some(path) = cell_path(cell, &input.measurements) {
            entries.push(Entry { path, trial: None, content: Content::Cell(place) });
        }
    }
    for (place, measurement) in input.measurements.iter().enumerate() {
        let trial = Some(measurement.trial);
        entries.push(Entry { path: trial_path("stress", measurement), trial, content: Content::Trial(place) });
        if measurement.series.is_some() {
            entries.push(Entry { path: trial_path("gpu", measurement), trial, content: Content::Series(place) });
        }
    }
    told_apart(entries)
}

/// `stress_{name}_batch{N}_c{C}_rep{K}_{timestamp}.json`; `_rate{R}_` in an open loop.
fn trial_path(prefix: &str, of: &Measurement) -> String {
    let (name, load, at) = (safe(&of.backend), of.load.file_tag(), stamp(of.started_at));
    format!("{prefix}_{name}_batch{}_{load}_rep{}_{at}.json", of.batch_size, of.repetition)
}

/// Without `_rep`: the merged cell, stamped with its first trial's start. `None` when it has no trial.
fn cell_path(cell: &Cell, measurements: &[Measurement]) -> Option<String> {
    let own =
        measurements.iter().filter(|one| one.backend == cell.backend && one.batch_size == cell.batch_size && one.load == cell.load);
    let first = own.map(|one| one.started_at).min()?;
    Some(format!("stress_{}_batch{}_{}_{}.json", safe(&cell.backend), cell.batch_size, cell.load.file_tag(), stamp(first)))
}

fn stamp(at: Timestamp) -> String {
    at.strftime("%Y%m%d_%H%M%S").to_string()
}

/// Names are checked at admission; a file name does not depend on that.
fn safe(name: &str) -> String {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_') { letter } else { '-' };
    name.chars().map(letter).take(80).collect()
}

/// A trial measured twice within a second gets a number.
fn told_apart(mut entries: Vec<Entry>) -> Vec<Entry> {
    let mut seen = BTreeSet::new();
    for entry in &mut entries {
        let stem = entry.path.trim_end_matches(".json").to_owned();
        let mut number = 2;
        while !seen.insert(entry.path.clone()) {
            entry.path = format!("{stem}_{number}.json");
            number += 1;
        }
    }
    entries
}
