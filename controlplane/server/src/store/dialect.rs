//! The one place that knows which database it is. Everything else is one portable SQL.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::{AnyPoolOptions, install_default_drivers};
use sqlx::{AnyConnection, AnyPool, Connection, Executor};

use super::{Error, Result};

/// Readers beside the one writer.
const READERS: u32 = 8;
/// Shorter than our clients wait for an answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Sqlite,
    Postgres,
}

/// Where the database is.
#[derive(Clone, Debug)]
pub(super) struct Address {
    url: Arc<str>,
    dialect: Dialect,
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self> {
        let dialect = match url.split(':').next().unwrap_or_default() {
            "sqlite" => Dialect::Sqlite,
            "postgres" | "postgresql" => Dialect::Postgres,
            other => return Err(Error::Address(other.to_owned())),
        };
        Ok(Self { url: url.into(), dialect })
    }

    /// How a write transaction begins. SQLite's default is deferred: a transaction that reads and then writes fails with "database
    /// is locked" as soon as two overlap.
    pub(super) fn begin(&self) -> &'static str {
        match self.dialect {
            Dialect::Sqlite => "BEGIN IMMEDIATE",
            Dialect::Postgres => "BEGIN",
        }
    }

    /// Whether connections can break.
    pub(super) fn is_served(&self) -> bool {
        self.dialect == Dialect::Postgres
    }

    /// Whether there is a write-ahead log that we look after.
    pub(super) fn has_log(&self) -> bool {
        self.dialect == Dialect::Sqlite
    }

    /// Connections for reading.
    pub(super) async fn pool(&self) -> Result<AnyPool> {
        install_default_drivers();
        let dialect = self.dialect;
        let options = AnyPoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(CONNECT_TIMEOUT)
            .after_connect(move |connection, _| Box::pin(set_up(connection, dialect)));
        Ok(options.connect(&self.url).await?)
    }

    /// One connection, outside the pool.
    pub(super) async fn connect(&self) -> Result<AnyConnection> {
        let connecting = async {
            let mut connection = AnyConnection::connect(&self.url).await?;
            set_up(&mut connection, self.dialect).await?;
            Ok(connection)
        };
        tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| sqlx::Error::PoolTimedOut)?
    }
}

async fn set_up(connection: &mut AnyConnection, dialect: Dialect) -> sqlx::Result<()> {
    if dialect == Dialect::Sqlite {
        // Only other programs lock it (a backup, a shell): our own writers wait elsewhere.
        connection.execute("PRAGMA busy_timeout = 5000").await?;
        // WAL lets readers go on while one writes; FULL makes an acknowledged commit survive a power cut.
        connection.execute("PRAGMA journal_mode = WAL").await?;
        connection.execute("PRAGMA synchronous = FULL").await?;
        connection.execute("PRAGMA foreign_keys = ON").await?;
        // 64 MiB: only where `checkpoint` comes too late, SQLite does it at a commit.
        connection.execute("PRAGMA wal_autocheckpoint = 16384").await?;
        // Up to 8 MiB of pages a connection: lists need a few thousand.
        connection.execute("PRAGMA cache_size = -8192").await?;
    } else {
        // A statement or a transaction that hangs must end by itself.
        connection.execute("SET statement_timeout = '30s'").await?;
        connection.execute("SET lock_timeout = '10s'").await?;
        connection.execute("SET idle_in_transaction_session_timeout = '60s'").await?;
    }
    Ok(())
}

pub(super) fn sqlite_url(path: &Path) -> String {
    let path = path.to_string_lossy().replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    format!("sqlite://{path}?mode=rwc")
}
