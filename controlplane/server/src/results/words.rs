//! Numbers as people write them: as many digits as the data carry, units attached. Shared by sentences, warnings and reports.

use em_api::results::Estimate;
use em_api::spec::{LoadLevel, Matrix};

use super::load_levels;

/// `2.3×`, `1.04×`; digits follow the width of the interval.
pub(crate) fn ratio(value: f64, half_width: Option<f64>) -> String {
    format!("{value:.*}×", ratio_decimals(value, half_width))
}

/// `2.3× [2.2, 2.4]`; without an interval the ratio alone.
pub(crate) fn ratio_with_interval(estimate: &Estimate) -> String {
    match (estimate.low, estimate.high) {
        (Some(low), Some(high)) => {
            let half = (high - low) / 2.0;
            if half >= 1.0 && low < 2.0 {
                // Too wide for one number of decimals: `1.2× [0.01, 150]` and not `1× [0, 150]`.
                return format!("{}× [{}, {}]", two_digits(estimate.mean), two_digits(low), two_digits(high));
            }
            let decimals = ratio_decimals(estimate.mean, Some(half));
            format!("{} [{low:.decimals$}, {high:.decimals$}]", ratio(estimate.mean, Some(half)))
        }
        _ => ratio(estimate.mean, None),
    }
}

/// Two significant digits, within what a ratio can sensibly be.
fn two_digits(value: f64) -> String {
    match value {
        v if v >= 1_000.0 => "over 1,000".to_owned(),
        v if v >= 9.95 => format!("{v:.0}"),
        v if v >= 0.995 => format!("{v:.1}"),
        v if v >= 0.005 => format!("{v:.2}"),
        _ => "under 0.01".to_owned(),
    }
}

fn ratio_decimals(value: f64, half_width: Option<f64>) -> usize {
    let by_size = if value < 2.0 { 2 } else { 1 };
    match half_width {
        Some(half) if half >= 1.0 => 0,
        Some(half) if half < 0.095 => 2,
        _ => by_size,
    }
}

/// `41 ms`, `4.1 ms`, `0.41 ms`, `12.3 s`.
pub(crate) fn millis(value: f64) -> String {
    match value {
        v if v >= 10_000.0 => format!("{:.1} s", v / 1_000.0),
        v if v >= 9.95 => format!("{} ms", thousands(v)),
        v if v >= 0.995 => format!("{v:.1} ms"),
        v => format!("{v:.2} ms"),
    }
}

/// Three significant digits at least, thousands apart: `12,345`, `431`, `43.1`, `4.31`.
pub(crate) fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 99.95 {
        thousands(value)
    } else if magnitude >= 9.995 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// `1,234,567`.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if value < 0.0 {
        text.push('-');
    }
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `512 MiB`, `3.4 GiB`.
pub(crate) fn bytes(value: f64) -> String {
    const MIB: f64 = 1_048_576.0;
    if value >= 1024.0 * MIB { format!("{:.1} GiB", value / MIB / 1024.0) } else { format!("{:.0} MiB", value / MIB) }
}

pub(crate) fn percent(ratio: f64) -> String {
    format!("{:.0} %", ratio * 100.0)
}

/// A share of neighbours: `100 %` only when all are the same.
pub(crate) fn overlap(share: f64) -> String {
    if share >= 1.0 { "100 %".to_owned() } else { format!("{:.1} %", (share * 1_000.0).floor() / 10.0) }
}

/// A success rate: `100 %` only when nothing failed.
pub(crate) fn success(ratio: f64) -> String {
    if ratio >= 1.0 { "100 %".to_owned() } else { format!("{:.2} %", (ratio * 10_000.0).floor() / 100.0) }
}

/// `batch 32`; with several load levels, or an open loop, `batch 32, concurrency 10`.
pub(crate) fn place(batch_size: u32, load: LoadLevel, matrix: &Matrix) -> String {
    let alone = load_levels(matrix).len() <= 1 && matches!(load, LoadLevel::Concurrency(_));
    if alone { format!("batch {batch_size}") } else { format!("batch {batch_size}, {load}") }
}

/// `1 trial`, `3 trials`.
pub(crate) fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_show_what_the_data_carry() {
        let estimate = |mean, low, high| Estimate { mean, low: Some(low), high: Some(high), n: 5 };
        assert_eq!(ratio_with_interval(&estimate(2.31, 2.21, 2.42)), "2.3× [2.2, 2.4]");
        assert_eq!(ratio_with_interval(&estimate(1.041, 1.02, 1.063)), "1.04× [1.02, 1.06]");
        assert_eq!(ratio_with_interval(&estimate(12.2, 9.0, 16.5)), "12× [9, 16]");
        assert_eq!(ratio_with_interval(&estimate(1.2, 0.012, 152.4)), "1.2× [0.01, 152]");
        assert_eq!(ratio_with_interval(&estimate(1.04, 0.31, 3.2)), "1.0× [0.31, 3.2]");
        assert_eq!(ratio_with_interval(&estimate(1.5, 0.0001, 2e4)), "1.5× [under 0.01, over 1,000]");
        assert_eq!(ratio_with_interval(&Estimate { mean: 2.31, low: None, high: None, n: 1 }), "2.3×");
        let milliseconds: Vec<String> = [0.412, 4.12, 9.96, 41.2, 1_529.0, 12_345.0].into_iter().map(millis).collect();
        assert_eq!(milliseconds, ["0.41 ms", "4.1 ms", "10 ms", "41 ms", "1,529 ms", "12.3 s"]);
        let numbers: Vec<String> = [0.5, 9.9, 43.14, 99.96, 12_345.4, 1_234_567.0].into_iter().map(number).collect();
        assert_eq!(numbers, ["0.50", "9.90", "43.1", "100", "12,345", "1,234,567"]);
        assert_eq!([percent(0.5), success(0.99999), success(0.9885), success(1.0)], ["50 %", "99.99 %", "98.85 %", "100 %"]);
        assert_eq!([bytes(5.4e8), bytes(3.65e9)], ["515 MiB", "3.4 GiB"]);
    }
}
