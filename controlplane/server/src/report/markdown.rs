//! `report.md`: for issues, wikis and pull requests. Plots are linked beside it.

use std::fmt::Write as _;

use em_api::results::Results;

use super::escape::markdown;
use super::facts;
use super::plots::Plot;
use super::tables::{self, Field, Table};
use crate::results::ResultsInput;

pub(super) fn write(input: &ResultsInput, results: &Results) -> String {
    let mut out = String::new();
    compose(&mut out, input, results).expect("writing into a string cannot fail");
    out
}

fn compose(out: &mut String, input: &ResultsInput, results: &Results) -> std::fmt::Result {
    writeln!(out, "# {}\n", markdown(&input.experiment.metadata.name))?;
    if !results.warnings.is_empty() {
        writeln!(out, "**Read first**\n")?;
        list(out, &results.warnings)?;
    }
    writeln!(out, "## In a sentence\n")?;
    if results.sentences.is_empty() {
        writeln!(out, "Nothing can be compared yet.\n")?;
    }
    list(out, &results.sentences)?;
    section(out, "Results", &tables::cells(input, results))?;
    section(out, "Overall", &tables::overall(results))?;
    writeln!(out, "## Plots\n")?;
    for plot in Plot::ALL {
        writeln!(out, "![{0}](plots/{0}.png)\n", plot.stem())?;
    }
    section(out, "Comparisons", &tables::comparisons(input, results))?;
    section(out, "Vectors", &tables::parity(results))?;
    writeln!(out, "## What was asked\n")?;
    facts_table(out, &facts::question(input))?;
    writeln!(out, "## Environment\n")?;
    facts_table(out, &facts::environment(input))?;
    section(out, "Trials", &tables::trials(input, results))?;
    writeln!(out, "## Method\n")?;
    facts::METHOD.iter().try_for_each(|line| writeln!(out, "- {line}"))?;
    writeln!(out, "\n{}", markdown(&facts::provenance(input, results)))
}

fn list(out: &mut String, lines: &[String]) -> std::fmt::Result {
    lines.iter().try_for_each(|line| writeln!(out, "- {}", markdown(line)))?;
    if lines.is_empty() { Ok(()) } else { writeln!(out) }
}

fn section(out: &mut String, name: &str, table: &Table) -> std::fmt::Result {
    writeln!(out, "## {name}\n")?;
    if table.rows.is_empty() {
        return writeln!(out, "None yet.\n");
    }
    let names: Vec<String> = table.columns.iter().map(|(name, _)| markdown(name)).collect();
    let rules: Vec<&str> = table.columns.iter().map(|(_, numeric)| if *numeric { "---:" } else { "---" }).collect();
    writeln!(out, "| {} |\n| {} |", names.join(" | "), rules.join(" | "))?;
    for row in &table.rows {
        writeln!(out, "| {} |", row.iter().map(field).collect::<Vec<_>>().join(" | "))?;
    }
    writeln!(out)?;
    for (place, note) in table.footnotes.iter().enumerate() {
        writeln!(out, "({}) {}  ", place + 1, markdown(note))?;
    }
    if table.footnotes.is_empty() { Ok(()) } else { writeln!(out) }
}

fn field(field: &Field) -> String {
    let minor = field.minor.as_ref().map(|minor| format!(" {}", markdown(minor))).unwrap_or_default();
    let note = field.note.map(|number| format!(" ({number})")).unwrap_or_default();
    format!("{}{minor}{note}", markdown(&field.text))
}

fn facts_table(out: &mut String, facts: &[facts::Fact]) -> std::fmt::Result {
    writeln!(out, "| | |\n| --- | --- |")?;
    facts.iter().try_for_each(|(name, text)| writeln!(out, "| {} | {} |", markdown(name), markdown(text)))?;
    writeln!(out)
}
