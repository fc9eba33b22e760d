//! What no trial can have measured. Results add counts up over thousands of trials, so one that is beyond all bounds is refused where
//! it comes in.

use crate::measurement::{LoadReport, Measurement, Outcome};

/// A day at ten million requests a second.
const MOST: u64 = 1_000_000_000_000;
/// Three times the longest `load.duration`, and some.
const LONGEST_WINDOW_S: f64 = 1_000_000.0;

impl Measurement {
    /// The first number that cannot be, as a sentence.
    pub fn implausible(&self) -> Option<String> {
        match &self.outcome {
            Outcome::Measured { load } => beyond(load),
            Outcome::Failed { .. } | Outcome::Interrupted { .. } => None,
        }
    }
}

fn beyond(load: &LoadReport) -> Option<String> {
    if !(0.0..=LONGEST_WINDOW_S).contains(&load.window_s) {
        return Some(format!("window_s is {}; a window has 0 to {LONGEST_WINDOW_S} seconds", load.window_s));
    }
    let counts = &load.counts;
    let named = [
        ("counts.ok", counts.ok),
        ("counts.refused", counts.refused),
        ("counts.timed_out", counts.timed_out),
        ("counts.wrong_shape", counts.wrong_shape),
        ("counts.not_finite", counts.not_finite),
        ("counts.late", counts.late),
        ("counts.other", counts.other),
        ("texts_ok", load.texts_ok),
        ("requests_ok", load.requests_ok),
        ("response_bytes / 1000", load.response_bytes / 1_000),
        ("text_words.total_words", load.text_words.total_words),
        ("dataset.texts", load.dataset.texts),
    ];
    let statuses = counts.http_status.values().map(|count| ("counts.http_status", *count));
    let words = load.text_words.counts.iter().map(|count| ("text_words.counts", *count));
    let bins =
        load.per_second.iter().flat_map(|bin| [bin.requests_ok, bin.texts_ok, bin.errors]).map(|count| ("per_second", count));
    let all = named.into_iter().chain(statuses).chain(words).chain(bins);
    let (name, count) = all.into_iter().find(|(_, count)| *count > MOST)?;
    Some(format!("{name} is {count}; no trial counts more than {MOST}"))
}
