//! Where a slurmrestd is, who we are there, and what proves it.

use std::path::PathBuf;
use std::time::Duration;

use super::version::Version;

#[derive(Clone, Debug)]
pub struct RestSettings {
    pub endpoint: RestEndpoint,
    /// The account whose jobs these are, by name. Over a Unix socket (`rest_auth/local`) it is the one that slurmrestd runs as, with a
    /// token the token's. Only its jobs are listed.
    pub user: String,
    /// Absent for `rest_auth/local`.
    pub token: Option<TokenSource>,
    /// Absent: the newest that the server has.
    pub version: Option<Version>,
    /// Our own deadline around every call. slurmrestd waits 10 s or more for a controller that is away (`MessageTimeout`).
    pub timeout: Duration,
    /// Variables given to the jobs, beside the short list of `environment.rs`.
    pub pass_env: Vec<String>,
    /// How far back a name is looked up in accounting.
    pub accounting_days: u32,
}

impl RestSettings {
    /// No token, version negotiated, 30 s.
    pub fn new(endpoint: RestEndpoint, user: impl Into<String>) -> Self {
        Self {
            endpoint,
            user: user.into(),
            token: None,
            version: None,
            timeout: Duration::from_secs(30),
            pass_env: Vec::new(),
            accounting_days: 30,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestEndpoint {
    /// A Unix socket of this machine.
    Socket(PathBuf),
    /// `http://host:6820` or `https://host/prefix`.
    Url(String),
}

/// Where a JSON web token comes from. It is never logged and never stands in an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// A file with the token, or a line `SLURM_JWT=token`. Read anew when it changes.
    File(PathBuf),
    /// A command that prints one, such as `scontrol token lifespan=3600`. Run before the token expires and when it is refused.
    Command(Vec<String>),
}

/// What makes a slurmrestd unusable before any call.
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    #[error("`{url}` is no address of slurmrestd: write http://host:port, https://host:port or the path of its socket")]
    Address { url: String },
    #[error("the user name `{user}` cannot be sent to slurmrestd")]
    User { user: String },
    #[error("setting up HTTP")]
    Http(#[source] reqwest::Error),
}
