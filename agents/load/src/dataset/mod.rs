//! Texts to embed: read once, kept compact, drawn in a seeded order.
//!
//! | source | file (in a folder: the name it looks for) | a text is |
//! |---|---|---|
//! | `wordnet`, `text` | `texts.txt`, else the only `*.txt` | a line |
//! | `msmarco` | `collection.tsv` | what follows the first tab; the id before it is a number |
//! | `tsv` | `collection.tsv`, else the only `*.tsv` | what follows the first tab |
//! | `jsonl` | `corpus.jsonl`, else the only `*.jsonl` | `text`, `passage` or `contents` of an object; a BEIR `title` goes before it |
//!
//! The first `limit` valid lines are loaded; a line that is none is counted and reported, never silently dropped.
//!
//! **The drawn order** is a Fisher–Yates shuffle of the loaded texts: for `i` from `n - 1` down to 1, swap with `next_u64 % (i + 1)`
//! of ChaCha8, whose key is the seed (8 bytes, little endian) and 24 zero bytes. It depends on nothing else, so that every
//! backend, node and version gets the same texts in the same order.

mod find;
mod line;
mod read;
mod texts;

use std::path::PathBuf;

use em_api::spec::DatasetSource;

use crate::DatasetRef;

pub use texts::Texts;

#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    #[error("opening the data set {path}")]
    Open {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("reading the data set {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("dataset.path: {folder} holds no {wanted} file of the source `{source_name}`; it holds {found}")]
    NoFile { folder: PathBuf, source_name: &'static str, wanted: &'static str, found: String },
    #[error("dataset.path: {folder} holds several {wanted} files ({found}); name one of them")]
    SeveralFiles { folder: PathBuf, wanted: &'static str, found: String },
    #[error("dataset.source: parquet files are not supported yet; convert to jsonl or tsv")]
    ParquetNotSupported,
    #[error("dataset.path: {path} is compressed; unpack it first")]
    Compressed { path: PathBuf },
    #[error(
        "dataset.source: {path} is no `{source_name}` file: {malformed} of its first {lines} lines are malformed (line {first}: {why})"
    )]
    WrongFormat { path: PathBuf, source_name: &'static str, malformed: u64, lines: u64, first: u64, why: &'static str },
    #[error("dataset.path: {path} holds no text")]
    Empty { path: PathBuf },
    #[error("load.textTokens: none of the {texts} texts has {min} to {max} words")]
    NoneOfThatLength { texts: u64, min: u32, max: u32 },
}

/// Reads, checks and shuffles. Blocking; a second or two for 500,000 passages.
pub fn load(dataset: &DatasetRef) -> Result<Texts, DatasetError> {
    if dataset.source == DatasetSource::Parquet || dataset.path.extension().is_some_and(|extension| extension == "parquet") {
        return Err(DatasetError::ParquetNotSupported);
    }
    let path = find::file_of(dataset.source, &dataset.path)?;
    read::texts(dataset.source, &path, dataset.limit).map(|lines| Texts::drawn(lines, dataset.source, dataset.seed))
}
