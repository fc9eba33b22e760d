//! Traces: when requests came, and how large they were. Two kinds of files are read, told apart by their first character:
//!
//! - CSV with a header: `at_s` (or `timestamp_ms`), and where they are known `texts` (per request) and `words` (per text);
//! - JSON lines as LLM serving traces have them (Mooncake, read by AIPerf and `vllm bench`): `{"timestamp": ms, "input_length": n}`.
//!   A length of tokens is taken as so many words.
//!
//! Times count from the first line. Every line must be readable: a trace with holes is another trace.

use std::path::{Path, PathBuf};

use crate::clock::{Nanos, SECOND};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) at: Nanos,
    pub(crate) texts: Option<u32>,
    pub(crate) words: Option<u32>,
}

#[derive(Clone, Debug)]
pub(crate) struct Trace {
    /// In the order of time, from 0 on; never empty.
    entries: Vec<Entry>,
    /// From one begin to the next.
    period: Nanos,
}

#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error("reading the trace {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("trace {path}: {problem}")]
    Malformed { path: PathBuf, problem: String },
}

#[derive(serde::Deserialize)]
struct JsonLine {
    /// Milliseconds.
    timestamp: f64,
    #[serde(default)]
    input_length: Option<u32>,
    #[serde(default)]
    texts: Option<u32>,
}

impl Trace {
    pub(crate) fn load(path: &Path) -> Result<Self, TraceError> {
        let text = std::fs::read_to_string(path).map_err(|source| TraceError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|problem| TraceError::Malformed { path: path.to_owned(), problem })
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut entries = if text.trim_start().starts_with('{') { json_lines(text)? } else { csv(text)? };
        entries.sort_by_key(|entry| entry.at);
        let first = entries.first().ok_or("holds no request")?.at;
        entries.iter_mut().for_each(|entry| entry.at -= first);
        let last = entries.last().map_or(0, |entry| entry.at);
        let gap = last / (entries.len() as u64 - 1).max(1);
        let period = if gap == 0 { SECOND } else { last + gap };
        Ok(Self { entries, period })
    }

    /// Request number `number`; after the last one the first comes again.
    pub(crate) fn entry(&self, number: u64) -> Entry {
        let count = self.entries.len() as u64;
        let entry = self.entries[(number % count) as usize];
        Entry { at: entry.at + number / count * self.period, ..entry }
    }

    /// The same pattern at another mean rate, requests per second.
    pub(crate) fn stretched_to(&self, rate: f64) -> Self {
        let factor = self.mean_rate() / rate;
        let stretch = |time: Nanos| (time as f64 * factor).round() as Nanos;
        let entries = self.entries.iter().map(|entry| Entry { at: stretch(entry.at), ..*entry }).collect();
        Self { entries, period: stretch(self.period).max(1) }
    }

    /// Requests per second.
    pub(crate) fn mean_rate(&self) -> f64 {
        self.entries.len() as f64 / (self.period as f64 / SECOND as f64)
    }
}

fn csv(text: &str) -> Result<Vec<Entry>, String> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let (_, header) = lines.next().ok_or("is empty")?;
    let names: Vec<&str> = header.split(',').map(str::trim).collect();
    let column = |name: &str| names.iter().position(|other| *other == name);
    let (time, per_second) = match (column("at_s"), column("timestamp_ms")) {
        (Some(column), _) => (column, 1.0),
        (None, Some(column)) => (column, 1_000.0),
        (None, None) => return Err(format!("its header `{header}` has no column at_s or timestamp_ms")),
    };
    let (texts, words) = (column("texts"), column("words"));
    lines
        .map(|(line, row)| {
            let fields: Vec<&str> = row.split(',').map(str::trim).collect();
            let wrong = |what: &str| format!("line {}: {what} in `{row}`", line + 1);
            let number = |column: Option<usize>, what: &str| match column.and_then(|column| fields.get(column)) {
                None | Some(&"") => Ok(None),
                Some(text) => text.parse::<u32>().map(Some).map_err(|_| wrong(&format!("no whole number of {what}"))),
            };
            let at = fields.get(time).and_then(|text| text.parse::<f64>().ok()).ok_or_else(|| wrong("no time"))?;
            entry(at / per_second, number(texts, "texts")?, number(words, "words")?).map_err(wrong)
        })
        .collect()
}

fn json_lines(text: &str) -> Result<Vec<Entry>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            let wrong = |what: &dyn std::fmt::Display| format!("line {}: {what}", number + 1);
            let read: JsonLine = serde_json::from_str(line).map_err(|error| wrong(&error))?;
            entry(read.timestamp / 1_000.0, read.texts, read.input_length).map_err(|what| wrong(&what))
        })
        .collect()
}

fn entry(at_s: f64, texts: Option<u32>, words: Option<u32>) -> Result<Entry, &'static str> {
    if !(0.0..1e9).contains(&at_s) {
        return Err("a time below 0, or beyond a billion seconds");
    }
    if texts == Some(0) {
        return Err("a request without texts");
    }
    Ok(Entry { at: (at_s * SECOND as f64).round() as Nanos, texts, words })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_files_are_read_and_times_count_from_the_first() {
        let csv = Trace::parse("timestamp_ms,words\n5000,12\n5250,\n7000,9\n").unwrap();
        let at: Vec<(u64, Option<u32>)> = (0..4).map(|n| csv.entry(n)).map(|e| (e.at / 1_000_000, e.words)).collect();
        assert_eq!(at, [(0, Some(12)), (250, None), (2_000, Some(9)), (3_000, Some(12))]);
        assert!((csv.mean_rate() - 1.0).abs() < 1e-9);
        let faster = csv.stretched_to(4.0);
        assert_eq!((faster.entry(2).at, faster.entry(3).at), (SECOND / 2, SECOND * 3 / 4));
        let json =
            Trace::parse("{\"timestamp\": 100, \"input_length\": 64, \"output_length\": 1}\n{\"timestamp\": 600}\n").unwrap();
        assert_eq!(json.entry(0), Entry { at: 0, texts: None, words: Some(64) });
        assert_eq!(json.entry(1).at, SECOND / 2);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named() {
        for (text, part) in [
            ("at_s\n1\nx\n", "line 3: no time"),
            ("when,texts\n1,2\n", "no column at_s"),
            ("at_s,texts\n1,0\n", "line 2: a request without texts"),
            ("at_s,texts\n-1,1\n", "line 2: a time below 0"),
            ("{\"timestamp\": 1}\n{\"time\": 2}\n", "line 2: missing field `timestamp`"),
            ("at_s\n", "holds no request"),
            ("", "is empty"),
        ] {
            let problem = Trace::parse(text).unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
