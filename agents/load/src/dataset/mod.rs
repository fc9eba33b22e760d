//! Texts to embed: read once, kept compact, drawn in a seeded order.
//!
//! | source | files (in a folder: the first name that is there, else the only data set of the kind) | a text is |
//! |---|---|---|
//! | `wordnet`, `text` | `texts.txt`, `*.txt` | a line |
//! | `tsv` | `collection.tsv`, `*.tsv` | what follows the first tab |
//! | `jsonl` | `corpus.jsonl`, `*.jsonl`, `msmarco_passage_NN` | `text`, `passage` or `contents` of an object; a BEIR `title` goes before it |
//! | `parquet` | `*.parquet` | a value of `passages.passage_text`, `text`, `passage`, `content` or `contents` |
//! | `msmarco` | `collection.tsv`, or any of the three kinds above | the same; the id before a tab is a number |
//!
//! A folder that [`prepare`] filled holds `texts.jsonl` in place of all these. Files may be packed by gzip or zstd, which is seen by
//! their first bytes. Files whose names differ in digits only are parts of one data set, read in the order of their names; a `*` in
//! the last part of a path stands for anything.
//!
//! The first `limit` texts are loaded; what gives none is counted and reported with its place, never silently dropped ([`Tally`]).
//!
//! **The drawn order** is a Fisher–Yates shuffle of the loaded texts: for `i` from `n - 1` down to 1, swap with `next_u64 % (i + 1)`
//! of ChaCha8, whose key is the seed (8 bytes, little endian) and 24 zero bytes. It depends on nothing else, so that every
//! backend, node and version gets the same texts in the same order.

pub mod prepare;

mod error;
mod find;
mod line;
mod open;
mod parquet;
mod read;
mod store;
mod tally;
mod texts;

use crate::DatasetRef;

pub use error::DatasetError;
pub use tally::{Malformed, Tally};
pub use texts::Texts;

/// Reads, checks and shuffles. Blocking; a second or two for 500,000 passages.
pub fn load(dataset: &DatasetRef) -> Result<Texts, DatasetError> {
    let mut lines = texts::Lines::default();
    let tally = read::each_text(dataset.source, &dataset.path, None, dataset.limit, &mut |text, _| {
        lines.push(text);
        Ok(())
    })?;
    if let Some(first) = tally.first_malformed.first() {
        tracing::warn!(malformed = tally.malformed, "{} malformed texts left out, the first is {first}", tally.malformed);
    }
    Ok(Texts::drawn(lines, &tally, dataset.source, dataset.seed))
}
