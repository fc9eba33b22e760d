//! Durations as people write them: `90s`, `2m`, `1h30m`, `250ms`; as kubectl and Go print them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A duration with the spelling of Kubernetes and Prometheus (`2m`, `1h30m`, `1.5s`, `250ms`; units d, h, m, s, ms). A bare
/// number is refused: its unit would be a guess.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct HumanDuration(pub Duration);

impl HumanDuration {
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl From<Duration> for HumanDuration {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

/// Why a text is no duration, with the cure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a duration; write for example 90s, 2m, 1h30m or 250ms")]
pub struct ParseDurationError {
    text: String,
}

impl FromStr for HumanDuration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || ParseDurationError { text: text.to_owned() };
        let mut rest = text.trim();
        if rest == "0" {
            return Ok(Self(Duration::ZERO));
        }
        if rest.is_empty() {
            return Err(fail());
        }
        let mut total = 0.0_f64;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(fail)?;
            let number: f64 = rest[..digits].parse().map_err(|_| fail())?;
            rest = &rest[digits..];
            let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            let seconds = match &rest[..letters] {
                "d" => 86_400.0,
                "h" => 3_600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 0.001,
                _ => return Err(fail()),
            };
            total += number * seconds;
            rest = &rest[letters..];
        }
        // A hundred years: beyond that a duration is a mistake, and Duration::from_secs_f64 would panic.
        if !total.is_finite() || total > 3.2e9 {
            return Err(fail());
        }
        Ok(Self(Duration::from_secs_f64(total)))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        if millis == 0 {
            return f.write_str("0s");
        }
        let mut rest = millis;
        for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if rest >= size {
                write!(f, "{}{unit}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_back_as_written() {
        for (text, seconds, shown) in [
            ("90s", 90.0, "1m30s"),
            ("2m", 120.0, "2m"),
            ("1h30m", 5400.0, "1h30m"),
            ("250ms", 0.25, "250ms"),
            ("1.5s", 1.5, "1s500ms"),
            ("0", 0.0, "0s"),
        ] {
            let parsed: HumanDuration = text.parse().expect(text);
            assert_eq!(parsed.0.as_secs_f64(), seconds);
            assert_eq!(parsed.to_string(), shown);
        }
    }

    #[test]
    fn a_duration_without_a_unit_is_refused() {
        for text in ["", "10", "5x", "m", "-3s", "1e3s", "9999999999999d", "1..2s"] {
            assert!(text.parse::<HumanDuration>().is_err(), "{text}");
        }
    }
}
