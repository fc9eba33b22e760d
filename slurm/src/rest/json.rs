//! Values as slurmrestd writes them, read without regard to the version: a number plain or as `{set, infinite, number}`, a word alone
//! or in a list, `null` for an empty text. Unknown keys are ignored everywhere.

use std::borrow::Cow;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Absent: not set, or infinite.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Number(pub(super) Option<i64>);

// By hand: serde's untagged enums copy each value first, and a listing has a million of them.
impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

struct NumberVisitor;

impl<'de> Visitor<'de> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or {set, infinite, number}")
    }

    fn visit_i64<E>(self, number: i64) -> Result<Number, E> {
        Ok(Number(Some(number)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Number, E> {
        Ok(Number(number.try_into().ok()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Number, E> {
        Ok(Number(Some(number as i64)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Number, E> {
        Ok(Number(text.trim().parse().ok()))
    }

    fn visit_unit<E>(self) -> Result<Number, E> {
        Ok(Number(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Number, A::Error> {
        let (mut set, mut infinite, mut number) = (false, false, Number(None));
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match &*key {
                "set" => set = map.next_value()?,
                "infinite" => infinite = map.next_value()?,
                "number" => number = map.next_value()?,
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(if set && !infinite { number } else { Number(None) })
    }
}

impl Number {
    pub(super) fn unsigned(self) -> Option<u64> {
        self.0.and_then(|number| number.try_into().ok())
    }

    /// Slurm's own `no value` and `infinite` of 32 bits left out.
    pub(super) fn small(self) -> Option<u32> {
        self.0.and_then(|number| number.try_into().ok()).filter(|number| *number < 0xffff_fffe)
    }

    /// Seconds since 1970; 0 is no time.
    pub(super) fn time(self) -> Option<jiff::Timestamp> {
        self.0.filter(|seconds| *seconds > 0).and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
    }
}

/// `"RUNNING"` or `["RUNNING", "COMPLETING"]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Words(pub(super) Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum AnyWords {
    One(String),
    Many(Vec<String>),
    Nothing(()),
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match AnyWords::deserialize(deserializer)? {
            AnyWords::One(word) => vec![word],
            AnyWords::Many(words) => words,
            AnyWords::Nothing(()) => Vec::new(),
        }))
    }
}

/// A text, or `null` for none.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

pub(super) fn present(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty() && text != "(null)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_words_are_read_in_the_form_of_every_version() {
        for (json, number) in [
            ("5", Some(5)),
            ("null", None),
            (r#"{"set":true,"infinite":false,"number":5}"#, Some(5)),
            (r#"{"set":true,"infinite":false,"number":5.0,"more":1}"#, Some(5)),
            (r#"{"set":false,"infinite":false,"number":0}"#, None),
            (r#"{"set":false,"infinite":true,"number":0}"#, None),
            (r#""5""#, Some(5)),
            (r#""""#, None),
        ] {
            assert_eq!(serde_json::from_str::<Number>(json).expect(json), Number(number), "{json}");
        }
        for (json, words) in [(r#""A""#, vec!["A"]), (r#"["A","B"]"#, vec!["A", "B"]), ("null", vec![]), ("[]", vec![])] {
            assert_eq!(serde_json::from_str::<Words>(json).expect(json).0, words, "{json}");
        }
        assert!(serde_json::from_str::<Number>("[1]").is_err());
    }
}
