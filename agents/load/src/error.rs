//! Why there is no load report.

use std::path::PathBuf;

use crate::dataset::DatasetError;

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The plan cannot be run as it is.
    #[error("load plan, {field}: {cure}")]
    Plan { field: &'static str, cure: String },
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    #[error("building the HTTP client")]
    Client(#[source] reqwest::Error),
    #[error("starting the users")]
    Goose(#[source] Box<goose::GooseError>),
    #[error("starting the thread {name}")]
    Thread {
        name: &'static str,
        #[source]
        source: std::io::Error,
    },
    /// Users ended before they had begun; Goose says why in the log.
    #[error("the users ended before the load had begun; see the log above")]
    UsersLost,
    #[error("pinning the generator to the cores {cores:?}; give cores that the job was granted")]
    Pin {
        cores: Vec<u32>,
        #[source]
        source: std::io::Error,
    },
    #[error("the trial was cancelled")]
    Cancelled,
    #[error("the trial's deadline of {0} passed; a longer `deadline` or a shorter `duration` would let it end")]
    Deadline(em_api::HumanDuration),
    /// Of [`embed_once`](crate::embed_once).
    #[error("asking {url} for vectors")]
    Transport {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("{url} answered {status}: {body}")]
    Status { url: String, status: u16, body: String },
    #[error("{url} answered what is not {wire}: {reason}")]
    Answer { url: String, wire: &'static str, reason: String },
    #[error("load plan, shape.trace")]
    Trace(#[from] crate::trace::TraceError),
    #[error("writing the requests to {path}")]
    Requests {
        path: PathBuf,
        #[source]
        source: parquet::errors::ParquetError,
    },
    #[error("starting the null server")]
    NullServer(#[source] std::io::Error),
    #[error("reading {path}")]
    ReadPlan {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}
