//! Numbers and times as people read them: as many digits as they carry, with units.

use em_api::results::{Estimate, Resources};
use jiff::Timestamp;

/// `12,345`, `431`, `43.1`, `4.31`: three significant digits, thousands apart.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => thousands(value),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// `1,234 [1,190–1,280]`: a mean with its 95 % interval, where repetitions give one.
pub(crate) fn estimate(estimate: &Estimate) -> String {
    match (estimate.low, estimate.high) {
        (Some(low), Some(high)) => format!("{} [{}–{}]", number(estimate.mean), number(low), number(high)),
        _ => number(estimate.mean),
    }
}

/// `0.84 ms`, `12.3 ms`, `1,234 ms`, `12.3 s`.
pub(crate) fn millis(value: f64) -> String {
    if value >= 9_995.0 { format!("{:.1} s", value / 1_000.0) } else { format!("{} ms", number(value)) }
}

/// `640 MB`, `1.2 GB` (powers of ten).
pub(crate) fn bytes(value: f64) -> String {
    if value >= 0.9995e9 { format!("{:.1} GB", value / 1e9) } else { format!("{:.0} MB", value / 1e6) }
}

/// `45 s`, `12 min`, `5 h 20 min`, `3 d 4 h`.
pub(crate) fn seconds(seconds: u64) -> String {
    let minutes = (seconds + 30) / 60;
    match (minutes / 1_440, minutes / 60 % 24, minutes % 60) {
        _ if seconds < 90 => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, 0) => format!("{hours} h"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, 0, _) => format!("{days} d"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// How long ago; a clock ahead of ours reads as 0.
pub(crate) fn age(since: Timestamp, now: Timestamp) -> String {
    seconds(u64::try_from(now.as_second() - since.as_second()).unwrap_or(0))
}

/// `2026-11-24 14:03:05` in UTC.
pub(crate) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// `Nov 24 14:03 UTC`, where seconds say nothing.
pub(crate) fn minute(at: Timestamp) -> String {
    at.strftime("%b %-d %H:%M UTC").to_string()
}

/// A message in one line: what other programs said may have several.
pub(crate) fn one_line(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| harmless(line.trim())).filter(|line| !line.is_empty()).collect();
    lines.join("; ")
}

/// Text from a service or a job: it cannot steer the terminal.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() && letter != '\t' { '·' } else { letter }).collect()
}

/// What a service used: `4.9 cores`, or `87 % GPU` where there is one.
pub(crate) fn usage(resources: &Resources) -> Option<String> {
    match (resources.gpu_utilization, resources.cpu_cores) {
        (Some(gpu), _) => Some(format!("{:.0} % GPU", gpu * 100.0)),
        (None, Some(cores)) => Some(format!("{cores:.1} cores")),
        (None, None) => None,
    }
}

/// Peak memory: of the GPU where there is one, else of the processes.
pub(crate) fn memory(resources: &Resources) -> Option<String> {
    let on_gpu = resources.gpu_memory_peak_bytes.map(|peak| format!("{} GPU", bytes(peak)));
    on_gpu.or_else(|| resources.memory_peak_bytes.map(bytes))
}

fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = if value < 0.0 { "-".to_owned() } else { String::new() };
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_show_what_they_carry() {
        let shown = [1_234_567.0, 1_234.4, 999.96, 431.0, 99.96, 43.12, 4.314, 0.5, 0.0, -1_234.0].map(number);
        assert_eq!(shown, ["1,234,567", "1,234", "1,000", "431", "100", "43.1", "4.31", "0.50", "0.00", "-1,234"]);
        assert_eq!([0.84, 12.34, 123.4, 1_234.0, 12_340.0].map(millis), ["0.84 ms", "12.3 ms", "123 ms", "1,234 ms", "12.3 s"]);
        assert_eq!([512e6, 1.24e9, 24e9].map(bytes), ["512 MB", "1.2 GB", "24.0 GB"]);
    }

    #[test]
    fn spans_of_time_read_naturally() {
        let shown = [0, 45, 89, 90, 600, 3_600, 19_200, 86_400, 100_000].map(seconds);
        assert_eq!(shown, ["0 s", "45 s", "89 s", "2 min", "10 min", "1 h", "5 h 20 min", "1 d", "1 d 3 h"]);
    }
}
