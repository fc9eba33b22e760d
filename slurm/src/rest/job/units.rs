//! sbatch's shorthands, read as sbatch reads them (sbatch(1)). `None`: not in a form that we know.

use jiff::civil::{Date, DateTime};
use jiff::{Span, Zoned};

/// `32G`, `512`, `1T`: megabytes. Kilobytes are rounded up.
pub(super) fn megabytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "M" | "MB" => Some(number),
        "K" | "KB" => Some(number.div_ceil(1024)),
        "G" | "GB" => number.checked_mul(1024),
        "T" | "TB" => number.checked_mul(1024 * 1024),
        _ => None,
    }
}

/// `minutes`, `minutes:seconds`, `hours:minutes:seconds`, `days-hours`, `days-hours:minutes`, `days-hours:minutes:seconds`. Seconds
/// are rounded up.
pub(super) fn minutes(text: &str) -> Option<u64> {
    let parts = |text: &str| text.split(':').map(|part| part.parse::<u64>().ok()).collect::<Option<Vec<u64>>>();
    let (days, parts) = match text.split_once('-') {
        Some((days, rest)) => (Some(days.parse::<u64>().ok()?), parts(rest)?),
        None => (None, parts(text)?),
    };
    let seconds = match (days, &parts[..]) {
        (None, [minutes]) => minutes * 60,
        (None, [minutes, seconds]) => minutes * 60 + seconds,
        (None, [hours, minutes, seconds]) => (hours * 60 + minutes) * 60 + seconds,
        (Some(days), [hours]) => (days * 24 + hours) * 3600,
        (Some(days), [hours, minutes]) => ((days * 24 + hours) * 60 + minutes) * 60,
        (Some(days), [hours, minutes, seconds]) => ((days * 24 + hours) * 60 + minutes) * 60 + seconds,
        _ => return None,
    };
    Some(seconds.div_ceil(60))
}

/// `now`, `now+90` (seconds), `now+2hours`, `2027-01-31`, `2027-01-31T12:30[:00]`: seconds since 1970.
pub(super) fn moment(text: &str, now: Zoned) -> Option<i64> {
    if let Some(rest) = text.strip_prefix("now") {
        if rest.is_empty() {
            return Some(now.timestamp().as_second());
        }
        let rest = rest.strip_prefix('+')?;
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: i64 = rest[..digits].parse().ok()?;
        let seconds = match rest[digits..].trim_end_matches('s') {
            "" | "second" => number,
            "minute" => number.checked_mul(60)?,
            "hour" => number.checked_mul(3600)?,
            "day" => number.checked_mul(86_400)?,
            "week" => number.checked_mul(604_800)?,
            _ => return None,
        };
        return now.checked_add(Span::new().try_seconds(seconds).ok()?).ok().map(|at| at.timestamp().as_second());
    }
    let local = text.parse::<DateTime>().ok().or_else(|| text.parse::<Date>().ok().map(|date| date.at(0, 0, 0, 0)))?;
    let zone = now.time_zone();
    zone.to_ambiguous_zoned(local).compatible().ok().map(|zoned| zoned.timestamp().as_second())
}

/// `1`, `0`, `yes`, `no`.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "yes" => Some(true),
        "0" | "no" => Some(false),
        _ => None,
    }
}

/// The events of `--mail-type` as flags.
pub(super) fn mail_types(text: &str) -> Option<Vec<&'static str>> {
    let mut flags = Vec::new();
    for event in text.split(',') {
        flags.extend(match event.trim().to_ascii_uppercase().as_str() {
            "NONE" => &[][..],
            "BEGIN" => &["BEGIN"],
            "END" => &["END"],
            "FAIL" => &["FAIL"],
            "REQUEUE" => &["REQUEUE"],
            "STAGE_OUT" => &["STAGE_OUT"],
            "ARRAY_TASKS" => &["ARRAY_TASKS"],
            "INVALID_DEPEND" => &["INVALID_DEPENDENCY"],
            "TIME_LIMIT" => &["TIME=100%"],
            "TIME_LIMIT_90" => &["TIME=90%"],
            "TIME_LIMIT_80" => &["TIME=80%"],
            "TIME_LIMIT_50" => &["TIME=50%"],
            "ALL" => &["BEGIN", "END", "FAIL", "INVALID_DEPENDENCY", "REQUEUE", "STAGE_OUT"],
            _ => return None,
        });
    }
    Some(flags)
}

/// `gpu:2,shard:1` as TRES; `none` stays.
pub(super) fn gres(text: &str, prefix: &str) -> String {
    if text.eq_ignore_ascii_case("none") {
        return text.to_owned();
    }
    let one = |gres: &str| match gres.starts_with("gres/") || gres.starts_with("gres:") {
        true => gres.to_owned(),
        false => format!("{prefix}{gres}"),
    };
    text.split(',').map(one).collect::<Vec<_>>().join(",")
}

/// `2`, `a100:2`, `a100:1,v100:1` as TRES.
pub(super) fn gpus(text: &str, prefix: &str) -> String {
    text.split(',').map(|gpus| format!("{prefix}gpu:{gpus}")).collect::<Vec<_>>().join(",")
}

/// The same with another sign before the counts.
pub(super) fn counted_gpus(text: &str, prefix: &str, sign: char) -> String {
    let one = |gpus: &str| match gpus.rsplit_once(':') {
        Some((model, count)) => format!("{prefix}gpu:{model}{sign}{count}"),
        None => format!("{prefix}gpu{sign}{gpus}"),
    };
    text.split(',').map(one).collect::<Vec<_>>().join(",")
}

/// All GPUs of `a100:1,v100:1`, of whatever type.
pub(super) fn gpu_sum(text: &str) -> Option<u64> {
    text.split(',').map(|gpus| gpus.rsplit(':').next().unwrap_or(gpus).parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_times_and_events_are_read_as_sbatch_reads_them() {
        let sizes = [("32G", Some(32_768)), ("512", Some(512)), ("1t", Some(1_048_576)), ("1500K", Some(2)), ("0", Some(0))];
        for (text, size) in sizes.into_iter().chain([("", None), ("G", None), ("1.5G", None), ("-1", None), ("3X", None)]) {
            assert_eq!(megabytes(text), size, "{text}");
        }
        for (text, time) in
            [("30", Some(30)), ("1:30", Some(2)), ("2:00:00", Some(120)), ("1-12", Some(2160)), ("1-0:30", Some(1470)), ("x", None)]
        {
            assert_eq!(minutes(text), time, "{text}");
        }
        assert_eq!(mail_types("END,FAIL"), Some(vec!["END", "FAIL"]));
        assert_eq!(mail_types("END,FOO"), None);
        assert_eq!(gres("gpu:2,shard:1", "gres/"), "gres/gpu:2,gres/shard:1");
        assert_eq!(gpus("a100:1,v100:1", "gres:"), "gres:gpu:a100:1,gres:gpu:v100:1");
        assert_eq!(counted_gpus("a100:1,2", "gres/", '='), "gres/gpu:a100=1,gres/gpu=2");
        assert_eq!((gpu_sum("a100:1,2"), gpu_sum("a100")), (Some(3), None));
    }

    #[test]
    fn moments_are_read_as_sbatch_reads_them() {
        let now: Zoned = "2026-11-24T10:00:00+01:00[Europe/Berlin]".parse().expect("a time");
        let at = |text: &str| moment(text, now.clone()).map(|seconds| seconds - now.timestamp().as_second());
        for (text, seconds) in [
            ("now", Some(0)),
            ("now+90", Some(90)),
            ("now+2hours", Some(7200)),
            ("now+1day", Some(86_400)),
            ("2026-11-24T11:00", Some(3600)),
            ("2026-11-25", Some(14 * 3600)),
            ("teatime", None),
            ("now+x", None),
        ] {
            assert_eq!(at(text), seconds, "{text}");
        }
    }
}
