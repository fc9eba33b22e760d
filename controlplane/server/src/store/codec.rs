//! Rust values ↔ the texts and integers of columns.

use std::str::FromStr;

use em_api::Timestamp;
use jiff::SignedDuration;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Error, Result};

/// A text of somebody else's for a column: PostgreSQL takes no NUL, and a log line may hold anything.
pub(super) fn plain(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// RFC 3339 in UTC with six digits always: texts sort as times do.
pub(super) fn time(at: Timestamp) -> String {
    format!("{at:.6}")
}

pub(super) fn opt_time(at: Option<Timestamp>) -> Option<String> {
    at.map(time)
}

pub(super) fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("types of em-api have string keys and serialise")
}

pub(super) fn ago(at: Timestamp, seconds: i64) -> Timestamp {
    at.checked_sub(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MIN)
}

/// Typed access to a row; an unreadable text is [`Error::Corrupt`] with its column.
pub(super) trait Columns {
    fn text(&self, column: &str) -> Result<String>;
    fn opt_text(&self, column: &str) -> Result<Option<String>>;
    fn int(&self, column: &str) -> Result<i64>;
    fn opt_int(&self, column: &str) -> Result<Option<i64>>;
    fn opt_float(&self, column: &str) -> Result<Option<f64>>;

    fn parsed<T: FromStr>(&self, column: &str) -> Result<T>
    where
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        self.text(column)?.parse().map_err(|source| corrupt(column, source))
    }

    fn opt_parsed<T: FromStr>(&self, column: &str) -> Result<Option<T>>
    where
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        self.opt_text(column)?.map(|text| text.parse().map_err(|source| corrupt(column, source))).transpose()
    }

    fn time(&self, column: &str) -> Result<Timestamp> {
        self.parsed(column)
    }

    fn opt_time(&self, column: &str) -> Result<Option<Timestamp>> {
        self.opt_parsed(column)
    }

    fn read_json<T: DeserializeOwned>(&self, column: &str) -> Result<T> {
        serde_json::from_str(&self.text(column)?).map_err(|source| corrupt(column, source))
    }

    /// A word of a closed set, as serde spells it.
    fn word<T: DeserializeOwned>(&self, column: &str) -> Result<T> {
        word(column, self.text(column)?)
    }

    fn count(&self, column: &str) -> Result<u32> {
        u32::try_from(self.int(column)?).map_err(|source| corrupt(column, source))
    }
}

impl Columns for AnyRow {
    fn text(&self, column: &str) -> Result<String> {
        Ok(self.try_get(column)?)
    }

    fn opt_text(&self, column: &str) -> Result<Option<String>> {
        Ok(self.try_get(column)?)
    }

    fn int(&self, column: &str) -> Result<i64> {
        Ok(self.try_get(column)?)
    }

    fn opt_int(&self, column: &str) -> Result<Option<i64>> {
        Ok(self.try_get(column)?)
    }

    fn opt_float(&self, column: &str) -> Result<Option<f64>> {
        Ok(self.try_get(column)?)
    }
}

/// A word of a closed set.
pub(super) fn word<T: DeserializeOwned>(column: &str, text: String) -> Result<T> {
    serde_json::from_value(serde_json::Value::String(text)).map_err(|source| corrupt(column, source))
}

/// The text of a word of a closed set.
pub(super) fn spell<T: Serialize>(word: &T) -> String {
    match serde_json::to_value(word) {
        Ok(serde_json::Value::String(text)) => text,
        _ => unreachable!("only enums of unit variants are stored as words"),
    }
}

pub(super) fn corrupt(column: &str, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Corrupt { column: column.to_owned(), source: Box::new(source) }
}
