//! Why there are no texts. `dataset.…` is the field of an experiment or load plan that is to be changed.

use std::path::{Path, PathBuf};

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
    #[error("dataset.path: {path} breaks off in the middle of its packed data; download or copy it again")]
    CutOff { path: PathBuf },
    #[error("dataset.path: {folder} holds no {wanted} of the source `{source_name}`; it holds {found}")]
    NoFile { folder: PathBuf, source_name: &'static str, wanted: &'static str, found: String },
    #[error("dataset.path: no file matches {pattern}")]
    NoMatch { pattern: PathBuf },
    #[error(
        "dataset.path: {folder} holds several data sets ({found}); name one file, or the files of one by a pattern such as {pattern}"
    )]
    SeveralFiles { folder: PathBuf, found: String, pattern: PathBuf },
    #[error("dataset.path: {path} is packed by {how}, which is not read here; unpack it, or pack it by gzip or zstd")]
    Compressed { path: PathBuf, how: &'static str },
    #[error("dataset.path: {path} is named as if it were packed, but it is not; download it again, or rename it")]
    NotCompressed { path: PathBuf },
    #[error("dataset.source: {path} is a parquet file, and `{source_name}` has lines; set the source to parquet")]
    IsParquet { path: PathBuf, source_name: &'static str },
    #[error("dataset.path: {path} cannot be read as parquet")]
    Parquet {
        path: PathBuf,
        #[source]
        source: ::parquet::errors::ParquetError,
    },
    #[error(
        "dataset.path: {path} has no column {wanted}; it has {found}. `em-agent data prepare --column NAME` takes the texts of any of them"
    )]
    NoColumn { path: PathBuf, wanted: String, found: String },
    #[error("dataset.path: the column {column} of {path} holds {found}, no texts")]
    ColumnType { path: PathBuf, column: String, found: String },
    #[error(
        "dataset.path: the column {column} of {path} has several texts in it ({found}); `em-agent data prepare --column NAME` takes one of them"
    )]
    SeveralColumns { path: PathBuf, column: String, found: String },
    #[error("--column: {path} has no columns, it is no parquet file; leave the flag out")]
    NoColumns { path: PathBuf },
    #[error(
        "dataset.source: {path} is no `{source_name}` data: {malformed} of its first {read} texts are malformed ({first}), and only {kept} are good"
    )]
    WrongFormat { path: PathBuf, source_name: &'static str, malformed: u64, read: u64, first: String, kept: u64 },
    #[error("dataset.path: {path} holds no text")]
    Empty { path: PathBuf },
    #[error("load.textTokens: none of the {texts} texts has {min} to {max} words")]
    NoneOfThatLength { texts: u64, min: u32, max: u32 },
    /// Of [`prepare`](super::prepare::prepare).
    #[error("writing {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl DatasetError {
    /// Of a packed file that ends too early, the end is the news.
    pub(super) fn reading(path: &Path, source: std::io::Error) -> Self {
        match source.kind() {
            std::io::ErrorKind::UnexpectedEof => Self::CutOff { path: path.to_owned() },
            _ => Self::Read { path: path.to_owned(), source },
        }
    }
}
