//! `emctl results`: cells, comparisons, agreement of vectors, as the server computed them. A number that the data cannot carry
//! is "—", with the reason below the table.

use std::fmt::Write as _;

use em_api::client::Client;
use em_api::results::{Cell, ParityVerdict, Percentile, Results};

use crate::cli::Format;
use crate::failure::Failure;
use crate::human;
use crate::output::show;
use crate::table::{Align, render};

pub(crate) async fn run(client: &Client, name: &str, format: Format) -> Result<(), Failure> {
    show(&client.results(name).await?, format, page, |results| results.experiment.clone())
}

fn page(results: &Results) -> String {
    let mut notes = Notes::default();
    let mut text = cells(results, &mut notes);
    for (number, note) in notes.lines().iter().enumerate() {
        let _ = writeln!(text, "—{} {note}", raised(number + 1));
    }
    text.push_str("texts/s: mean over the N repetitions that count [95 % interval]; latency from their merged histograms\n");
    // Before the first number there is nothing to compare, and a sentence a pair would say so.
    if results.cells.iter().any(|cell| cell.texts_per_second.is_some()) {
        part(&mut text, "Comparisons", results.sentences.iter().cloned());
    }
    let verdict = |verdict| match verdict {
        ParityVerdict::Passed => "agrees",
        ParityVerdict::Failed => "DISAGREES",
        ParityVerdict::Unknown => "unknown",
        ParityVerdict::Reported => "reported",
    };
    part(
        &mut text,
        "Vectors",
        results.parity.iter().map(|parity| format!("{}: {}. {}", parity.backend, verdict(parity.verdict), parity.message)),
    );
    part(&mut text, "Warnings", results.warnings.iter().cloned());
    if !results.complete {
        text.push_str("\nNot complete: trials are missing, running or failed.\n");
    }
    text
}

fn cells(results: &Results, notes: &mut Notes) -> String {
    let several_loads = results.cells.iter().any(|cell| cell.load != results.cells[0].load);
    let with_failures = results.cells.iter().any(|cell| cell.counts.errors() > 0);
    let mut columns = vec![("BATCH", Align::Right), ("BACKEND", Align::Left)];
    if several_loads {
        columns.push(("LOAD", Align::Left));
    }
    columns.extend([
        ("TEXTS/S", Align::Left),
        ("P50", Align::Right),
        ("P90", Align::Right),
        ("P99", Align::Right),
        ("USES", Align::Right),
        ("MEMORY", Align::Right),
        ("N", Align::Right),
    ]);
    if with_failures {
        columns.push(("ERRORS", Align::Right));
    }
    let rows: Vec<Vec<String>> = results
        .cells
        .iter()
        .map(|cell| {
            let mut row = vec![cell.batch_size.to_string(), cell.backend.clone()];
            if several_loads {
                row.push(cell.load.to_string());
            }
            row.push(match &cell.texts_per_second {
                _ if cell.void.is_some() => notes.void(cell),
                Some(estimate) => human::estimate(estimate),
                None => notes.dash(&nothing_counts(cell)),
            });
            let latency = &cell.latency_ms;
            for (name, percentile) in [("p50", &latency.p50), ("p90", &latency.p90), ("p99", &latency.p99)] {
                row.push(shown(percentile, name, notes));
            }
            row.push(human::usage(&cell.resources).unwrap_or_else(|| "—".to_owned()));
            row.push(human::memory(&cell.resources).unwrap_or_else(|| "—".to_owned()));
            row.push(cell.repetitions.to_string());
            if with_failures {
                row.push(human::number(cell.counts.errors() as f64).trim_end_matches(".00").to_owned());
            }
            row
        })
        .collect();
    render(&columns, &rows)
}

fn shown(percentile: &Percentile, name: &str, notes: &mut Notes) -> String {
    match (percentile.value, &percentile.withheld) {
        (Some(value), _) => human::millis(value),
        (None, Some(reason)) if reason.starts_with(|first: char| first.is_ascii_digit()) => {
            notes.dash(&format!("{name}: {reason}"))
        }
        (None, Some(reason)) => notes.dash(reason),
        (None, None) => "—".to_owned(),
    }
}

fn nothing_counts(cell: &Cell) -> String {
    let told = [(cell.failed, "failed"), (cell.invalid, "invalid"), (cell.inconclusive, "inconclusive")];
    let told: Vec<String> = told.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if told.is_empty() {
        "no trial was measured yet".to_owned()
    } else {
        format!("no valid trial ({}); see `emctl describe`", told.join(", "))
    }
}

/// Reasons for dashes, each told once. Reasons that differ in their count of requests alone are one, told with the range.
#[derive(Default)]
struct Notes {
    reasons: Vec<Reason>,
}

struct Reason {
    before: String,
    range: Option<(u64, u64)>,
    after: String,
}

impl Notes {
    /// The dash with its number.
    fn dash(&mut self, reason: &str) -> String {
        let (before, count, after) = split(reason);
        let known = |known: &Reason| known.before == before && known.after == after && known.range.is_some() == count.is_some();
        let number = match self.reasons.iter().position(known) {
            Some(index) => {
                if let (Some((least, most)), Some(count)) = (&mut self.reasons[index].range, count) {
                    (*least, *most) = ((*least).min(count), (*most).max(count));
                }
                index + 1
            }
            None => {
                self.reasons.push(Reason { before, range: count.map(|count| (count, count)), after });
                self.reasons.len()
            }
        };
        format!("—{}", raised(number))
    }

    /// A cell that a failed parity gate voids.
    fn void(&mut self, cell: &Cell) -> String {
        format!("void{}", self.dash(cell.void.as_deref().unwrap_or_default()).trim_start_matches('—'))
    }

    fn lines(&self) -> Vec<String> {
        let told = |reason: &Reason| match reason.range {
            Some((least, most)) if least == most => format!("{}{least}{}", reason.before, reason.after),
            Some((least, most)) => format!("{}{least}–{most}{}", reason.before, reason.after),
            None => reason.before.clone(),
        };
        self.reasons.iter().map(told).collect()
    }
}

/// `p99: 85 requests cannot…` → `p99: `, 85, ` requests cannot…`.
fn split(reason: &str) -> (String, Option<u64>, String) {
    let start = reason.find(": ").map_or(0, |colon| colon + 2);
    let digits: String = reason[start..].chars().take_while(char::is_ascii_digit).collect();
    match digits.parse() {
        Ok(count) => (reason[..start].to_owned(), Some(count), reason[start + digits.len()..].to_owned()),
        Err(_) => (reason.to_owned(), None, String::new()),
    }
}

fn raised(number: usize) -> String {
    number
        .to_string()
        .chars()
        .map(|digit| ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'][digit as usize - '0' as usize])
        .collect()
}

fn part(text: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let lines: Vec<String> = lines.map(|line| format!("  {line}\n")).collect();
    if !lines.is_empty() {
        let _ = write!(text, "\n{title}\n{}", lines.concat());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cell(backend: &str, batch: u32, rate: Value, p99: Value, gpu: Value) -> Value {
        let percentile = |value: f64| json!({"value": value});
        json!({
            "backend": backend, "batchSize": batch, "load": {"concurrency": 2}, "repetitions": if rate.is_null() { 0 } else { 3 },
            "failed": if rate.is_null() { 3 } else { 0 }, "invalid": 0, "inconclusive": 0, "textsPerSecond": rate, "requestsPerSecond": null,
            "latencyMs": {"samples": 85, "mean": 12.0, "p50": percentile(12.34), "p90": percentile(0.873), "p95": percentile(20.0),
                           "p99": p99, "max": null, "cdf": []},
            "counts": counts(), "successRate": 1.0,
            "resources": {"resource": "process", "cpuCores": 1.94, "memoryPeakBytes": 6.1e8, "gpuUtilization": gpu, "gpuMemoryPeakBytes": null,
                          "gpuPowerWatts": null, "joulesPerMillionTexts": null},
            "coldStart": null,
        })
    }

    fn counts() -> Value {
        serde_json::to_value(em_api::measurement::OutcomeCounts::default()).expect("JSON")
    }

    fn results(cells: &[Value]) -> Results {
        serde_json::from_value(json!({
            "experiment": "demo", "uid": "01JDD2T4C3X5B7N9Q1R3S5T7V9", "codeVersion": "1", "measurementsSha256": "", "complete": false,
            "cells": cells, "comparisons": [], "sentences": ["ort answers 2.3× [2.2, 2.4] as many texts/s as hf at batch 16"],
            "parity": [{"backend": "ort", "reference": "hf", "texts": 200, "minCosine": 0.99999, "meanCosine": 1.0, "maxAbsDifference": 1e-6,
                        "requiredCosine": 0.9999, "verdict": "passed", "message": "cosine ≥ 0.99999 over 200 texts"}],
            "overall": [], "trials": [], "warnings": ["2 of load.repetitions gives no verdict"],
        }))
        .expect("results")
    }

    #[test]
    fn the_page_shows_numbers_with_their_doubt_and_dashes_with_their_reason() {
        let rate = |mean: f64| json!({"mean": mean, "low": mean * 0.97, "high": mean * 1.03, "n": 3});
        let few = |samples: u32| json!({"value": null, "withheld": format!("{samples} requests cannot carry this percentile; it takes 459")});
        let none = json!({"value": null, "withheld": "no valid trial measured a latency"});
        let page = page(&results(&[
            cell("hf", 16, rate(1_234.4), few(85), Value::Null),
            cell("ort", 16, json!({"mean": 43.21, "low": null, "high": null, "n": 1}), json!({"value": 45.67}), json!(0.87)),
            cell("hf", 32, rate(99.0), few(240), Value::Null),
            cell("vllm", 32, Value::Null, none, Value::Null),
        ]));
        insta::assert_snapshot!(page, @"
        BATCH  BACKEND  TEXTS/S                  P50      P90      P99       USES  MEMORY  N
           16  hf       1,234 [1,197–1,271]  12.3 ms  0.87 ms       —¹  1.9 cores  610 MB  3
           16  ort      43.2                 12.3 ms  0.87 ms  45.7 ms   87 % GPU  610 MB  3
           32  hf       99.0 [96.0–102]      12.3 ms  0.87 ms       —¹  1.9 cores  610 MB  3
           32  vllm     —²                   12.3 ms  0.87 ms       —³  1.9 cores  610 MB  0
        —¹ p99: 85–240 requests cannot carry this percentile; it takes 459
        —² no valid trial (3 failed); see `emctl describe`
        —³ no valid trial measured a latency
        texts/s: mean over the N repetitions that count [95 % interval]; latency from their merged histograms

        Comparisons
          ort answers 2.3× [2.2, 2.4] as many texts/s as hf at batch 16

        Vectors
          ort: agrees. cosine ≥ 0.99999 over 200 texts

        Warnings
          2 of load.repetitions gives no verdict

        Not complete: trials are missing, running or failed.
        ");
    }

    #[test]
    fn an_experiment_without_cells_has_a_page() {
        assert!(page(&results(&[])).contains("Not complete"));
    }
}
