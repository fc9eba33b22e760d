//! `summary_report.txt`: the proof of concept's summary, for terminals and mails.

use std::fmt::Write as _;

use em_api::results::Results;

use super::tables::{self, Field, Table};
use super::{facts, tables::Tone};
use crate::results::ResultsInput;

pub(super) fn write(input: &ResultsInput, results: &Results) -> String {
    let mut out = String::new();
    heading(&mut out, &format!("Embedding Meter: {}", input.experiment.metadata.name), '=');
    for (name, text) in facts::question(input) {
        line(&mut out, &format!("{name:<12} {}", one_line(&text)));
    }
    if !results.warnings.is_empty() {
        heading(&mut out, "Warnings", '-');
        results.warnings.iter().for_each(|warning| line(&mut out, &format!("! {}", one_line(warning))));
    }
    heading(&mut out, "Throughput, latency and resources", '-');
    table(&mut out, &tables::cells(input, results));
    heading(&mut out, "Comparison", '-');
    if results.sentences.is_empty() {
        line(&mut out, "Nothing can be compared yet.");
    }
    results.sentences.iter().for_each(|sentence| line(&mut out, &format!("* {sentence}")));
    heading(&mut out, "Overall", '-');
    table(&mut out, &tables::overall(results));
    heading(&mut out, "Vectors", '-');
    table(&mut out, &tables::parity(results));
    heading(&mut out, "Environment", '-');
    for (name, text) in facts::environment(input) {
        line(&mut out, &format!("{name}: {}", one_line(&text)));
    }
    line(&mut out, "");
    line(&mut out, &facts::provenance(input, results));
    out
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{}", text.trim_end()).expect("writing into a string cannot fail");
}

fn heading(out: &mut String, text: &str, under: char) {
    let before = if out.is_empty() { "" } else { "\n" };
    line(out, &format!("{before}{text}"));
    line(out, &under.to_string().repeat(text.chars().count()));
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn shown(field: &Field) -> String {
    let mark = if field.tone == Tone::Bad { "!" } else { "" };
    let minor = field.minor.as_ref().map(|minor| format!(" {}", one_line(minor))).unwrap_or_default();
    let note = field.note.map(|number| format!(" ({number})")).unwrap_or_default();
    format!("{mark}{}{minor}{note}", one_line(&field.text))
}

fn table(out: &mut String, table: &Table) {
    let rows: Vec<Vec<String>> = table.rows.iter().map(|row| row.iter().map(shown).collect()).collect();
    let letters = |text: &str| text.chars().count();
    let widths: Vec<usize> = (0..table.columns.len())
        .map(|column| rows.iter().map(|row| letters(&row[column])).chain([letters(&table.columns[column].0)]).max().unwrap_or(0))
        .collect();
    let joined = |fields: Vec<&str>| {
        let padded = fields.iter().enumerate().map(|(column, text)| {
            let space = " ".repeat(widths[column].saturating_sub(letters(text)));
            if table.columns[column].1 { format!("{space}{text}") } else { format!("{text}{space}") }
        });
        padded.collect::<Vec<_>>().join("  ")
    };
    line(out, &joined(table.columns.iter().map(|(name, _)| name.as_str()).collect()));
    for row in &rows {
        line(out, &joined(row.iter().map(String::as_str).collect()));
    }
    for (place, note) in table.footnotes.iter().enumerate() {
        line(out, &format!("({}) {}", place + 1, one_line(note)));
    }
}
