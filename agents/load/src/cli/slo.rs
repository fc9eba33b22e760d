//! `--slo 'p99<50ms'`: a rule, and whether a report keeps it. A percentile that the requests cannot carry is not kept: nobody could bet
//! on it.

use std::str::FromStr;

use anyhow::Context;
use em_api::measurement::LoadReport;
use em_stats::{histogram, percentile};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slo {
    metric: Metric,
    /// Milliseconds, a share, or per second.
    bound: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Metric {
    /// Between 0 and 1.
    Quantile(f64),
    Average,
    Slowest,
    Errors,
    TextsPerSecond,
    RequestsPerSecond,
}

/// What came of a rule.
pub(super) struct Check {
    pub(super) met: bool,
    pub(super) words: String,
}

impl FromStr for Slo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no rule; write for example p99<50ms, errors<0.1% or texts>500");
        let at = text.find(['<', '>']).ok_or_else(wrong)?;
        let (name, bound) = (text[..at].trim(), text[at + 1..].trim_start_matches('=').trim());
        let metric = metric(name).ok_or_else(wrong)?;
        let least = matches!(metric, Metric::TextsPerSecond | Metric::RequestsPerSecond);
        if least != text[at..].starts_with('>') {
            return Err(format!("`{text}`: {name} needs `{}`", if least { '>' } else { '<' }));
        }
        let bound = match metric {
            Metric::Errors => share(bound),
            Metric::TextsPerSecond | Metric::RequestsPerSecond => bound.trim_end_matches("/s").parse().ok(),
            _ => milliseconds(bound),
        };
        Ok(Self { metric, bound: bound.filter(|bound: &f64| bound.is_finite() && *bound >= 0.0).ok_or_else(wrong)? })
    }
}

fn metric(name: &str) -> Option<Metric> {
    Some(match name {
        "avg" => Metric::Average,
        "max" => Metric::Slowest,
        "errors" => Metric::Errors,
        "texts" => Metric::TextsPerSecond,
        "requests" => Metric::RequestsPerSecond,
        _ => {
            let percent: f64 = name.strip_prefix('p')?.parse().ok()?;
            Metric::Quantile((percent > 0.0 && percent < 100.0).then_some(percent / 100.0)?)
        }
    })
}

fn share(text: &str) -> Option<f64> {
    match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().ok().map(|percent| percent / 100.0),
        None => text.parse().ok(),
    }
}

/// `50ms`, `1.5s`, `800us`; a bare number would be a guess.
fn milliseconds(text: &str) -> Option<f64> {
    let units = [("ms", 1.0), ("us", 1e-3), ("µs", 1e-3), ("s", 1e3)];
    units.iter().find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.trim().parse::<f64>().ok()? * factor))
}

impl Slo {
    pub(super) fn check(&self, report: &LoadReport) -> anyhow::Result<Check> {
        let latency = histogram::decode(&report.latency_us.0).context("reading a histogram of our own")?;
        let (asked, answered) = (report.counts.ok + report.counts.late + report.counts.errors(), latency.len());
        let bound = self.bound;
        let of_latency = |name: String, value: f64| (value < bound, format!("{name} {value:.2} ms, must be below {bound} ms"));
        let at_least = |name: &str, count: u64| {
            let rate = count as f64 / report.window_s;
            (rate > bound, format!("{rate:.2} {name}/s, must be above {bound}"))
        };
        let (met, words) = match self.metric {
            Metric::Quantile(quantile) => {
                let name = format!("p{}", (quantile * 1e5).round() / 1e3);
                match percentile::of(&latency, quantile) {
                    Ok(estimate) => of_latency(name, estimate.value / 1_000.0),
                    Err(withheld) => (false, format!("{name} is not known: {withheld}")),
                }
            }
            Metric::Average | Metric::Slowest if answered == 0 => (false, "no valid answer".to_owned()),
            Metric::Average => of_latency("average".to_owned(), latency.mean() / 1_000.0),
            Metric::Slowest => of_latency("slowest".to_owned(), latency.max() as f64 / 1_000.0),
            Metric::Errors if asked == 0 => (false, "no request".to_owned()),
            Metric::Errors => {
                let share = report.counts.errors() as f64 / asked as f64;
                (share < bound || share == 0.0, format!("errors {:.3} %, must be below {:.3} %", share * 100.0, bound * 100.0))
            }
            Metric::TextsPerSecond => at_least("texts", report.texts_ok),
            Metric::RequestsPerSecond => at_least("requests", report.requests_ok),
        };
        Ok(Check { met, words })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_with_their_units() {
        let read = |text: &str| text.parse::<Slo>().map(|slo| (slo.metric, slo.bound));
        assert_eq!(read("p99<50ms"), Ok((Metric::Quantile(0.99), 50.0)));
        assert_eq!(read("p99.9 < 1.5s"), Ok((Metric::Quantile(0.9990000000000001), 1_500.0)));
        assert_eq!(read("avg<=800us"), Ok((Metric::Average, 0.8)));
        assert_eq!(read("errors<0.1%"), Ok((Metric::Errors, 0.001)));
        assert_eq!(read("errors<0.02"), Ok((Metric::Errors, 0.02)));
        assert_eq!(read("texts>500/s"), Ok((Metric::TextsPerSecond, 500.0)));
        for wrong in ["p99<50", "p99>50ms", "texts<5", "p100<5ms", "p0<5ms", "latency<5ms", "p99", "errors<x", "p99<-1ms"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
