//! The summary at the end, in the manner of k6: a name, dots, a value.

use std::fmt::Write;

use anyhow::Context;
use em_api::measurement::{FoundBy, FoundMax, Histogram, LoadReport, Merged};
use em_stats::histogram;
use em_stats::steady::{self, Steadiness};

use super::slo::Check;

/// The generator must have been shown to reach so many times the load.
const HEADROOM: f64 = 3.0;

pub(super) fn render(report: &LoadReport, checks: &[Check]) -> anyhow::Result<String> {
    let mut lines = Lines::default();
    let per_s = |count: u64| count as f64 / report.window_s;
    let sent = report.counts.ok + report.counts.errors();
    lines.add("endpoint", &report.url);
    lines.add("load", &format!("{}, {} texts a request", report.level, report.batch_size));
    if let Some(found) = &report.find_max {
        add_found(&mut lines, found);
    }
    let extended = if report.extended { ", extended to hold enough requests" } else { "" };
    lines.add("window", &format!("{:.1} s after {:.1} s of warm-up{extended}", report.window_s, report.warmup_s));
    if let Some(merged) = &report.merged {
        let Merged { generators, overlap_s, spread_s } = merged;
        lines.add(
            "merged",
            &format!("{generators} generators; their windows overlap by {overlap_s:.2} s, begun within {spread_s:.2} s"),
        );
    }
    lines.add("texts", &format!("{} valid, {:.1}/s", report.texts_ok, per_s(report.texts_ok)));
    lines.add("requests", &format!("{} valid, {:.2}/s", report.requests_ok, per_s(report.requests_ok)));
    let success = if sent == 0 { "—".to_owned() } else { format!("{:.3} %", 100.0 * report.counts.ok as f64 / sent as f64) };
    lines.add("success", &success);
    lines.add("latency", &percentiles(&report.latency_us)?);
    lines.add("service time", &percentiles(&report.service_time_us)?);
    lines.add("schedule slip", &percentiles(&report.slip_us)?);
    lines.add("answers", &format!("{:.2} MB/s, {} numbers a vector", per_s(report.response_bytes) / 1e6, dim(report)));
    let generator = report.generator.cpu_s / report.window_s;
    lines.add("generator", &format!("{generator:.2} of {} cores{}", report.generator.cores.len(), headroom(report)));
    lines.add("steadiness", &steadiness(report));
    for (name, count) in faults(report) {
        lines.add(&name, &count.to_string());
    }
    for example in &report.error_examples {
        lines.add("example", example);
    }
    let dataset = &report.dataset;
    let malformed = dataset.malformed_lines;
    lines.add(
        "data set",
        &format!("{} texts of {}, seed {}, {malformed} malformed lines", dataset.texts, dataset.source, dataset.seed),
    );
    for check in checks {
        lines.add(if check.met { "✓ slo" } else { "✗ slo" }, &check.words);
    }
    Ok(lines.0)
}

fn add_found(lines: &mut Lines, found: &FoundMax) {
    let limit = found.p99_limit_ms;
    let interval = match (found.high, found.by) {
        (Some(high), FoundBy::Line) => format!("95 % interval [{:.2}, {high:.2}]", found.low),
        (Some(high), FoundBy::Bracket) => format!("{:.2} passed, {high:.2} did not", found.low),
        (None, _) => "every rate that was tried passed: it may be higher".to_owned(),
    };
    let words = format!("{:.2} requests/s with p99 ≤ {limit} ms; {interval}", found.requests_per_s);
    lines.add("largest rate", &words);
    for probe in &found.probes {
        let share = 100.0 * probe.over as f64 / probe.requests.max(1) as f64;
        let word = if probe.passed { "passed" } else { "did not" };
        lines.add("  probe", &format!("{:.2} requests/s {word}: {share:.2} % over the limit", probe.requests_per_s));
    }
}

/// What the generator reaches by itself, and whether that was enough.
fn headroom(report: &LoadReport) -> String {
    let Some(headroom) = report.generator.headroom_requests_per_s else { return String::new() };
    let offered = (report.counts.ok + report.counts.late + report.counts.errors()) as f64 / report.window_s;
    let reaches = format!("; reaches {headroom:.0} requests/s against a null server, {:.1} times the load", headroom / offered);
    if offered * HEADROOM > headroom {
        format!(
            "{reaches}\n  {:.<16}: INVALID, client-bound: less than {HEADROOM:.0} times; the numbers say as much of this machine",
            "verdict"
        )
    } else {
        reaches
    }
}

fn steadiness(report: &LoadReport) -> String {
    let whole = report.window_s.max(0.0) as usize;
    let seconds: Vec<f64> = report.per_second.iter().take(whole).map(|bin| bin.requests_ok as f64).collect();
    match steady::judge(&seconds) {
        Steadiness::Steady => "steady".to_owned(),
        Steadiness::Unsteady(why) => format!("unsteady: {why}"),
        Steadiness::NoStatement { seconds } => format!("{seconds} s are too few to say; {} would do", steady::LEAST_SECONDS),
    }
}

#[derive(Default)]
pub(super) struct Lines(pub(super) String);

impl Lines {
    pub(super) fn add(&mut self, name: &str, value: &str) {
        // Writing into a String cannot fail.
        let _ = writeln!(self.0, "  {name:.<16}: {value}");
    }
}

fn dim(report: &LoadReport) -> String {
    report.embedding_dim.map_or("—".to_owned(), |dim| dim.to_string())
}

fn percentiles(encoded: &Histogram) -> anyhow::Result<String> {
    let times = histogram::decode(&encoded.0).context("reading a histogram of our own")?;
    if times.is_empty() {
        return Ok("—".to_owned());
    }
    let ms = |quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
    Ok(format!(
        "avg={:.2}ms med={:.2}ms p(90)={:.2}ms p(95)={:.2}ms p(99)={:.2}ms max={:.2}ms",
        times.mean() / 1000.0,
        ms(0.50),
        ms(0.90),
        ms(0.95),
        ms(0.99),
        times.max() as f64 / 1000.0
    ))
}

/// Only what happened.
fn faults(report: &LoadReport) -> Vec<(String, u64)> {
    let counts = &report.counts;
    let fixed = [
        ("refused", counts.refused),
        ("timed out", counts.timed_out),
        ("wrong shape", counts.wrong_shape),
        ("NaN or infinity", counts.not_finite),
        ("wrong length", counts.wrong_norm),
        ("other faults", counts.other),
        ("late", counts.late),
    ];
    let statuses = counts.http_status.iter().map(|(code, count)| (format!("HTTP {code}"), *count));
    fixed.into_iter().map(|(name, count)| (name.to_owned(), count)).chain(statuses).filter(|(_, count)| *count > 0).collect()
}
