//! Times in the output of squeue and sacct.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Asks the commands for seconds since 1970 (`SLURM_TIME_FORMAT`, read by squeue and sacct): their default is local time
/// without an offset, which is ambiguous for one hour a year.
pub(super) const EPOCH: &str = "%s";

/// Reads seconds since 1970, or local time as a command prints it that does not know `SLURM_TIME_FORMAT`. `None` for a time
/// that there is not (`N/A`, `Unknown`, `None`).
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<i64>() {
        return Timestamp::from_second(seconds).ok().filter(|_| seconds > 0);
    }
    in_zone(text, &TimeZone::system())
}

fn in_zone(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let local: DateTime = text.parse().ok()?;
    zone.to_ambiguous_zoned(local).compatible().ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_local_times_name_the_same_moment() {
        let moment: Timestamp = "2026-11-24T04:12:15Z".parse().expect("a time");
        assert_eq!(parse("1795493535"), Some(moment));
        assert_eq!(in_zone("2026-11-24T04:12:15", &TimeZone::UTC), Some(moment));
        let berlin = TimeZone::get("Europe/Berlin").expect("a zone");
        assert_eq!(in_zone("2026-11-24T05:12:15", &berlin), Some(moment));
    }

    #[test]
    fn words_for_no_time_are_no_time() {
        for text in ["N/A", "Unknown", "None", "", "0", "(null)", "NONE"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
