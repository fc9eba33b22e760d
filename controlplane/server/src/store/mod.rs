//! The database: what was posted, what was decided, what was handed in. Functions here take what was parsed already, do one
//! transaction each, and know nothing of HTTP or Slurm. A change is announced only after its commit.

pub mod access;
pub mod attempts;
mod changes;
mod checkpoint;
pub mod claims;
pub mod cleanup;
mod codec;
pub mod counted;
mod dialect;
pub mod events;
pub mod experiments;
pub mod filter;
pub mod handed_in;
pub mod idempotency;
mod import;
mod lists;
pub mod outbox;
pub mod pages;
mod parts;
pub mod records;
pub mod status;
pub mod telemetry;
pub mod transitions;
pub mod trials;
mod unavailable;
pub mod watch;
pub mod world;
mod writer;

use std::path::Path;
use std::sync::Arc;

use rand::Rng;
use sqlx::AnyPool;
use tokio::sync::{Notify, watch as signal};

pub use crate::clock::now;
use dialect::Address;
pub use unavailable::Unavailable;
use writer::{Write, Writer};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no {0}")]
    NotFound(String),
    /// Somebody else changed the row since it was read: look again.
    #[error("the {0} was changed by somebody else in between")]
    Stale(&'static str),
    #[error("an experiment named {} exists with another spec", .0.metadata.name)]
    NameTaken(Box<em_api::experiment::Experiment>),
    #[error("experiment {0} is being deleted")]
    BeingDeleted(String),
    #[error("experiment {name} has ended ({phase})")]
    AlreadyEnded { name: String, phase: &'static str },
    #[error("something else was posted with this key before")]
    KeyReused,
    #[error("a request with this key is being worked on")]
    KeyInUse,
    #[error("using the database")]
    Database(#[from] sqlx::Error),
    /// The commit that this write was part of failed, for whatever cause: nothing of it is stored.
    #[error("the database did not take the write")]
    NotCommitted(#[source] Arc<sqlx::Error>),
    #[error("too many writes wait for the database")]
    Busy,
    #[error("the database did not answer in time")]
    Late,
    #[error("applying the database's migrations")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A stored text that this version cannot read.
    #[error("column {column} of the database holds something unreadable")]
    Corrupt {
        column: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Its first word; the rest may hold a password.
    #[error("a database address that begins with `{0}` is not understood; write sqlite:///path/to/em.db or postgres://…")]
    Address(String),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Cheap to clone; all clones are one store.
#[derive(Clone)]
pub struct Store {
    /// For reading.
    pool: AnyPool,
    writer: Arc<Writer>,
    signals: Arc<Signals>,
    server8: Arc<str>,
}

struct Signals {
    /// The newest committed resource version, for watchers.
    version: signal::Sender<i64>,
    /// Something for the reconciler. Carries no news: the reconciler looks at everything.
    wake: Notify,
}

impl Store {
    /// Opens (and makes, for SQLite) the database at `url` and brings it to this version's shape.
    pub async fn open(url: &str, commit_seconds: prometheus::Histogram) -> Result<Self> {
        let address = Address::parse(url)?;
        let pool = address.pool().await?;
        sqlx::migrate!("../../migrations").run(&pool).await?;
        let server8 = server8(&pool).await?;
        let version: i64 =
            sqlx::query_scalar("SELECT value FROM counters WHERE name = 'resource_version'").fetch_one(&pool).await?;
        let signals = Arc::new(Signals { version: signal::Sender::new(version), wake: Notify::new() });
        let writer = Arc::new(Writer::open(address, pool.clone(), signals.clone(), commit_seconds).await?);
        Ok(Self { pool, writer, signals, server8: server8.into() })
    }

    /// The address of the SQLite database in a state directory.
    pub fn sqlite_url(state_dir: &Path) -> String {
        dialect::sqlite_url(&state_dir.join("em.db"))
    }

    /// Eight lower-case letters and digits, made once per database: part of each job's name.
    pub fn server8(&self) -> &str {
        &self.server8
    }

    /// Resolves when there may be something for the reconciler. A call made before the wake-up is not lost.
    pub async fn woken(&self) {
        self.signals.wake.notified().await;
    }

    pub fn wake(&self) {
        self.signals.wake.notify_one();
    }

    /// The newest resource version; changes are seen through the receiver.
    pub fn versions(&self) -> signal::Receiver<i64> {
        self.signals.version.subscribe()
    }

    /// Whether the database answers and takes writes: about as much is written as a large experiment needs, in one row.
    pub async fn ping(&self) -> Result<()> {
        // Other than last time: SQLite writes no page that does not change.
        let text = random_lowercase(64).repeat(PING_BYTES / 64);
        let mut write = self.write().await?;
        sqlx::query("INSERT INTO meta (name, value) VALUES ('ping', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
            .bind(text)
            .execute(&mut *write.tx)
            .await?;
        self.commit(write).await
    }

    /// Closes all connections; the write-ahead log is merged.
    pub async fn close(&self) {
        self.writer.close().await;
        self.pool.close().await;
    }
}

impl Signals {
    /// After the commit.
    fn announce(&self, version: Option<i64>, wake: bool) {
        if let Some(version) = version {
            self.version.send_if_modified(|seen| {
                let newer = version > *seen;
                *seen = version.max(*seen);
                newer
            });
        }
        if wake {
            self.wake.notify_one();
        }
    }
}

const PING_BYTES: usize = 64 * 1024;

async fn server8(pool: &AnyPool) -> Result<String> {
    let fresh = random_lowercase(8);
    sqlx::query("INSERT INTO meta (name, value) VALUES ('server8', $1) ON CONFLICT (name) DO NOTHING")
        .bind(fresh)
        .execute(pool)
        .await?;
    Ok(sqlx::query_scalar("SELECT value FROM meta WHERE name = 'server8'").fetch_one(pool).await?)
}

fn random_lowercase(length: usize) -> String {
    let mut rng = rand::rng();
    (0..length).map(|_| char::from(b"abcdefghijklmnopqrstuvwxyz0123456789"[rng.random_range(0..36)])).collect()
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
