//! The one place that knows which database it is. Everything else is one portable SQL.

use std::path::Path;
use std::time::Duration;

use sqlx::AnyPool;
use sqlx::Executor;
use sqlx::any::{AnyPoolOptions, install_default_drivers};

use super::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// How a write transaction begins. SQLite's default is deferred: a transaction that reads and then writes fails with "database
    /// is locked" as soon as two overlap.
    pub(super) fn begin(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => Some("BEGIN IMMEDIATE"),
            Self::Postgres => None,
        }
    }
}

/// For a connection of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn sqlite_url(path: &Path) -> String {
    let path = path.to_string_lossy().replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    format!("sqlite://{path}?mode=rwc")
}

pub(super) async fn connect(url: &str) -> Result<(AnyPool, Dialect)> {
    let dialect = match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => Dialect::Sqlite,
        Some("postgres" | "postgresql") => Dialect::Postgres,
        _ => return Err(Error::Address(url.to_owned())),
    };
    install_default_drivers();
    let options = AnyPoolOptions::new().max_connections(8).acquire_timeout(ACQUIRE_TIMEOUT).after_connect(move |connection, _| {
        Box::pin(async move {
            if dialect == Dialect::Sqlite {
                // Only other programs lock it (a backup, a shell): our own writers wait elsewhere.
                connection.execute("PRAGMA busy_timeout = 5000").await?;
                // WAL lets readers go on while one writes; FULL makes an acknowledged commit survive a power cut.
                connection.execute("PRAGMA journal_mode = WAL").await?;
                connection.execute("PRAGMA synchronous = FULL").await?;
                connection.execute("PRAGMA foreign_keys = ON").await?;
            } else {
                // A statement or a transaction that hangs must end by itself.
                connection.execute("SET statement_timeout = '30s'").await?;
                connection.execute("SET lock_timeout = '10s'").await?;
                connection.execute("SET idle_in_transaction_session_timeout = '60s'").await?;
            }
            Ok(())
        })
    });
    Ok((options.connect(url).await?, dialect))
}
