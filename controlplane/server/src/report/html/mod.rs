//! `report.html`: one file without scripts or links, light and dark, fit to be printed and mailed.

use std::fmt::Write as _;

use em_api::results::Results;

use super::escape::xml;
use super::facts::{self, Fact};
use super::plots::Plot;
use super::tables::{self, Field, Table, Tone};
use crate::results::ResultsInput;

const STYLE: &str = include_str!("style.css");
/// Of the comparisons, so many sentences stand on the first screen; all are in the table.
const SENTENCES: usize = 6;

pub(super) fn write(input: &ResultsInput, results: &Results) -> String {
    let mut out = String::new();
    compose(&mut out, input, results).expect("writing into a string cannot fail");
    out
}

fn compose(out: &mut String, input: &ResultsInput, results: &Results) -> std::fmt::Result {
    let name = xml(&input.experiment.metadata.name);
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{name} · Embedding Meter</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
    )?;
    let state = if results.complete { "complete" } else { "not complete" };
    writeln!(out, "<header><p class=\"kicker\">Embedding Meter · report · {state}</p>\n<h1>{name}</h1>")?;
    writeln!(out, "<p class=\"lead\">{}</p></header>", xml(&lead(input)))?;
    warnings(out, &results.warnings)?;
    sentences(out, &results.sentences)?;
    plot(out, input, results, Plot::Throughput)?;
    plot(out, input, results, Plot::Latency)?;
    section(out, "Results", "One row a cell: a backend at one batch size and load level.", &tables::cells(input, results))?;
    section(out, "Overall", "Geometric mean over all cells; a missing cell costs.", &tables::overall(results))?;
    section(out, "Comparisons", "Paired inside blocks; A is the faster of the two.", &tables::comparisons(input, results))?;
    for which in [Plot::Pareto, Plot::Cdf, Plot::Resources, Plot::Timeline] {
        plot(out, input, results, which)?;
    }
    section(out, "Vectors", "Whether each backend computes what the reference computes.", &tables::parity(results))?;
    facts_list(out, "What was asked", &facts::question(input))?;
    facts_list(out, "Environment", &facts::environment(input))?;
    section(out, "Trials", "All of them, in the order of execution.", &tables::trials(input, results))?;
    writeln!(out, "<section id=\"method\"><h2>Method</h2>\n<ul class=\"method\">")?;
    facts::METHOD.iter().try_for_each(|line| writeln!(out, "<li>{}</li>", xml(line)))?;
    writeln!(out, "</ul></section>\n<footer>{}</footer>\n</main>\n</body>\n</html>", xml(&facts::provenance(input, results)))
}

fn lead(input: &ResultsInput) -> String {
    let spec = &input.experiment.spec;
    let backends: Vec<&str> = spec.backends.iter().map(|backend| backend.name.as_str()).collect();
    format!("{} served by {}", spec.model.id, backends.join(", "))
}

fn warnings(out: &mut String, warnings: &[String]) -> std::fmt::Result {
    if warnings.is_empty() {
        return Ok(());
    }
    writeln!(out, "<aside class=\"warnings\"><h2>Read first</h2>\n<ul>")?;
    warnings.iter().try_for_each(|warning| writeln!(out, "<li>{}</li>", xml(warning)))?;
    writeln!(out, "</ul></aside>")
}

fn sentences(out: &mut String, sentences: &[String]) -> std::fmt::Result {
    writeln!(out, "<section class=\"sentences\">")?;
    match sentences {
        [] => writeln!(out, "<p>Nothing can be compared yet.</p>")?,
        [first, rest @ ..] => {
            writeln!(out, "<p class=\"headline\">{}</p>\n<ul>", xml(first))?;
            rest.iter().take(SENTENCES - 1).try_for_each(|sentence| writeln!(out, "<li>{}</li>", xml(sentence)))?;
            writeln!(out, "</ul>")?;
            if sentences.len() > SENTENCES {
                writeln!(out, "<p class=\"muted\">{} more in the table of comparisons.</p>", sentences.len() - SENTENCES)?;
            }
        }
    }
    writeln!(out, "</section>")
}

fn plot(out: &mut String, input: &ResultsInput, results: &Results, which: Plot) -> std::fmt::Result {
    writeln!(out, "<figure class=\"plot\">\n{}</figure>", which.svg(input, results))
}

fn section(out: &mut String, name: &str, about: &str, table: &Table) -> std::fmt::Result {
    writeln!(out, "<section id=\"{}\"><h2>{}</h2><p class=\"muted\">{}</p>", name.to_lowercase(), xml(name), xml(about))?;
    if table.rows.is_empty() {
        return writeln!(out, "<p>None yet.</p></section>");
    }
    writeln!(out, "<div class=\"scroll\"><table><thead><tr>")?;
    for (name, numeric) in &table.columns {
        writeln!(out, "<th scope=\"col\"{}>{}</th>", class(*numeric), xml(name))?;
    }
    writeln!(out, "</tr></thead><tbody>")?;
    for row in &table.rows {
        write!(out, "<tr>")?;
        for (cell, (_, numeric)) in row.iter().zip(&table.columns) {
            write!(out, "<td{}>{}</td>", class(*numeric), field(cell, table))?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</tbody></table></div>")?;
    if !table.footnotes.is_empty() {
        writeln!(out, "<ol class=\"notes\">")?;
        table.footnotes.iter().try_for_each(|note| writeln!(out, "<li>{}</li>", xml(note)))?;
        writeln!(out, "</ol>")?;
    }
    writeln!(out, "</section>")
}

fn class(numeric: bool) -> &'static str {
    if numeric { " class=\"num\"" } else { "" }
}

fn field(field: &Field, table: &Table) -> String {
    let text = match field.tone {
        Tone::Plain => xml(&field.text),
        Tone::Good => format!("<span class=\"good\">{}</span>", xml(&field.text)),
        Tone::Doubtful => format!("<span class=\"doubtful\">{}</span>", xml(&field.text)),
        Tone::Bad => format!("<span class=\"bad\">{}</span>", xml(&field.text)),
    };
    let minor = field.minor.as_ref().map(|minor| format!(" <small>{}</small>", xml(minor))).unwrap_or_default();
    match field.note.and_then(|number| Some((number, table.footnotes.get(number - 1)?))) {
        Some((number, why)) => format!("<abbr title=\"{}\">{text}{minor}<sup>{number}</sup></abbr>", xml(why)),
        None => text + &minor,
    }
}

fn facts_list(out: &mut String, name: &str, facts: &[Fact]) -> std::fmt::Result {
    writeln!(out, "<section id=\"{}\"><h2>{}</h2>", name.to_lowercase().replace(' ', "-"), xml(name))?;
    if facts.is_empty() {
        return writeln!(out, "<p>None yet.</p></section>");
    }
    writeln!(out, "<dl>")?;
    facts.iter().try_for_each(|(name, text)| writeln!(out, "<dt>{}</dt><dd>{}</dd>", xml(name), xml(text)))?;
    writeln!(out, "</dl></section>")
}
