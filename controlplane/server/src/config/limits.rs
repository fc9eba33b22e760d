//! `--max-active KEY=NUMBER`.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

/// So many active experiments for each value of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelLimit {
    pub key: String,
    pub most: u32,
}

impl FromStr for LabelLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.split_once('=').and_then(|(key, most)| Some((key.trim(), most.trim().parse().ok()?)));
        match parsed {
            Some((key, most)) if most > 0 && crate::admit::label_error(key, "").is_none() => Ok(Self { key: key.to_owned(), most }),
            _ => Err(format!("`{text}` is no limit; write the key of a label and a number from 1, such as team=4")),
        }
    }
}

impl<'de> Deserialize<'de> for LabelLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_names_a_label_and_a_number() {
        assert_eq!("example.org/team=4".parse(), Ok(LabelLimit { key: "example.org/team".to_owned(), most: 4 }));
        for wrong in ["team", "team=", "team=0", "team=-1", "=4", "a b=4", "team=many"] {
            assert!(wrong.parse::<LabelLimit>().is_err(), "{wrong}");
        }
    }
}
