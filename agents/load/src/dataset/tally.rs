//! What became of the lines of a data set, or of the values of a column.

use std::fmt;

/// So many are kept by name.
const NAMED: usize = 5;

/// `read` is the sum of the other three.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub read: u64,
    pub kept: u64,
    /// Blank lines, empty texts, nulls.
    pub empty: u64,
    pub malformed: u64,
    /// The first five.
    pub first_malformed: Vec<Malformed>,
}

/// Where something stood that is no text of its source, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Name of the file, without its folder.
    pub file: String,
    /// `line` or, of parquet, `row`.
    pub unit: &'static str,
    /// From 1.
    pub number: u64,
    pub why: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}: {}", self.file, self.unit, self.number, self.why)
    }
}

impl Tally {
    pub(super) fn malformed(&mut self, place: impl FnOnce() -> Malformed) {
        self.read += 1;
        self.malformed += 1;
        if self.first_malformed.len() < NAMED {
            self.first_malformed.push(place());
        }
    }
}
