//! Write transactions, committed in groups. One connection writes; transactions run on it one after another, each behind a
//! savepoint of its own, and those that were waiting go to the disk with one commit: one fsync for all of them.
//!
//! Guarantees: [`Store::commit`] returns after the commit of its own rows; versions are announced after their commit and in their
//! order; a transaction that fails, or whose caller leaves before `commit`, is undone alone; one whose caller leaves during
//! `commit` is kept whole. The group's commit is a task of its own, so no caller can take it away by leaving.
//!
//! A transaction sees the ones before it in its group before they are durable. So an answer that rests on what was read also goes
//! through `commit`, even where nothing was written.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use em_api::ExperimentUid;
use sqlx::{AnyConnection, AnyPool, Connection};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, watch as signal};

use super::checkpoint::Checkpoints;
use super::dialect::Address;
use super::{Error, Result, Signals, Store};
use crate::probe::{self, Place};

/// Transactions in one commit: more would only keep the first of them waiting.
const LARGEST_GROUP: u32 = 64;
/// Transactions that wait for their turn; beyond this a caller is better told to come again.
const MOST_WAITING: usize = 1024;

/// So long a write waits for those before it: beyond, its caller had better repeat it.
const PATIENCE: Duration = Duration::from_secs(20);
/// A commit that takes longer never comes back: its connection is given up.
const COMMIT_DEADLINE: Duration = Duration::from_secs(60);

pub(super) struct Writer {
    /// Whoever holds the lock writes. It is fair: first come, first served.
    turn: Arc<Mutex<Turn>>,
    places: Arc<Semaphore>,
    /// Where groups are committed: callers may live on runtimes that end before their group does.
    runtime: Handle,
}

/// What passes from writer to writer.
struct Turn {
    address: Address,
    /// `None`: to be made at the next use, because a transaction of unknown state was on it.
    connection: Option<AnyConnection>,
    group: Option<Group>,
    signals: Arc<Signals>,
    /// Where the database needs them.
    checkpoints: Option<Checkpoints>,
    commit_seconds: prometheus::Histogram,
}

/// The open transaction of the database.
struct Group {
    transactions: u32,
    /// The newest savepoint's transaction was begun but not kept.
    unfinished: bool,
    version: Option<i64>,
    wake: bool,
    outcome: signal::Sender<Option<Outcome>>,
}

type Outcome = Result<(), Arc<sqlx::Error>>;

/// One write transaction: the turn, from its savepoint on. Dropping it undoes it.
pub(super) struct Write {
    pub(super) tx: Tx,
    version: Option<i64>,
    /// Whether the reconciler shall look after the commit.
    pub(super) wake: bool,
    _place: OwnedSemaphorePermit,
}

/// The connection that the transaction runs on.
pub(super) struct Tx(OwnedMutexGuard<Turn>);

impl Store {
    pub(super) async fn write(&self) -> Result<Write> {
        probe::point(Place::Free).await;
        let place = self.writer.places.clone().try_acquire_owned().map_err(|_| Error::Busy)?;
        let turn = tokio::time::timeout(PATIENCE, self.turn()).await.map_err(|_| Error::Late)??;
        Ok(Write { tx: Tx(turn), version: None, wake: false, _place: place })
    }

    /// The turn, in a group and behind a savepoint.
    async fn turn(&self) -> Result<OwnedMutexGuard<Turn>> {
        let mut turn = self.writer.turn.clone().lock_owned().await;
        while turn.group.as_ref().is_some_and(|group| group.transactions >= LARGEST_GROUP) {
            // The group's commit stands in the same queue.
            drop(turn);
            tokio::task::yield_now().await;
            turn = self.writer.turn.clone().lock_owned().await;
        }
        turn.undo_unfinished().await;
        if turn.group.is_none() {
            turn.begin().await?;
            let turn = self.writer.turn.clone();
            self.writer.runtime.spawn(async move { turn.lock_owned().await.commit().await });
        }
        turn.savepoint().await?;
        Ok(turn)
    }

    /// Keeps what the transaction did and waits until the disk has it.
    pub(super) async fn commit(&self, write: Write) -> Result<()> {
        probe::point(Place::Locked).await;
        let mut outcome = write.keep()?;
        let failed = match &*outcome.wait_for(Option::is_some).await.map_err(|_| sqlx::Error::WorkerCrashed)? {
            Some(Err(error)) => Some(Arc::clone(error)),
            Some(Ok(())) | None => None,
        };
        probe::point(Place::Free).await;
        failed.map_or(Ok(()), |error| Err(Error::NotCommitted(error)))
    }
}

impl Writer {
    /// `readers`: of the same database.
    pub(super) async fn open(
        address: Address,
        readers: AnyPool,
        signals: Arc<Signals>,
        commit_seconds: prometheus::Histogram,
    ) -> Result<Self> {
        let connection = Some(address.connect().await?);
        let checkpoints = address.has_log().then(|| Checkpoints::new(readers));
        let turn = Turn { address, connection, group: None, signals, checkpoints, commit_seconds };
        let places = Arc::new(Semaphore::new(MOST_WAITING));
        Ok(Self { turn: Arc::new(Mutex::new(turn)), places, runtime: Handle::current() })
    }

    /// Until so many callers have come and not gone.
    #[cfg(test)]
    pub(super) async fn until_waiting(&self, callers: usize) {
        while self.places.available_permits() > MOST_WAITING - callers {
            tokio::task::yield_now().await;
        }
    }

    /// After the group that is open.
    pub(super) async fn close(&self) {
        let mut turn = self.turn.lock().await;
        turn.commit().await;
        if let Some(connection) = turn.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the database's connection for writing ended badly");
        }
    }
}

impl Turn {
    /// Meanwhile the connection is not in its place: a caller that leaves takes it away, and the next one makes a new one.
    async fn begin(&mut self) -> Result<()> {
        let begin = self.address.begin();
        let mut connection = match self.connection.take() {
            Some(mut connection) => match sqlx::query(begin).execute(&mut connection).await {
                Ok(_) => return self.opened(connection),
                // The database server may have been restarted since; a new connection will do.
                Err(_) if self.address.is_served() => self.address.connect().await?,
                Err(error) => return Err(error.into()),
            },
            None => self.address.connect().await?,
        };
        sqlx::query(begin).execute(&mut connection).await?;
        self.opened(connection)
    }

    fn opened(&mut self, connection: AnyConnection) -> Result<()> {
        self.connection = Some(connection);
        let outcome = signal::Sender::new(None);
        self.group = Some(Group { transactions: 0, unfinished: false, version: None, wake: false, outcome });
        Ok(())
    }

    async fn savepoint(&mut self) -> Result<()> {
        let (Some(connection), Some(group)) = (&mut self.connection, &mut self.group) else { return Err(lost()) };
        // Before the statement: whoever leaves during it leaves it to be undone.
        group.unfinished = true;
        group.transactions += 1;
        sqlx::query("SAVEPOINT one").execute(connection).await?;
        Ok(())
    }

    /// Takes back what the last writer left behind. When that fails, the database has ended the whole group by itself.
    async fn undo_unfinished(&mut self) {
        let Some(group) = &mut self.group else { return };
        if !group.unfinished {
            return;
        }
        let undone = match &mut self.connection {
            // The savepoint itself stays, so a caller that leaves here leaves it to the next one. The next savepoint hides it.
            Some(connection) => sqlx::query("ROLLBACK TO SAVEPOINT one").execute(connection).await,
            None => Err(sqlx::Error::WorkerCrashed),
        };
        match undone {
            Ok(_) => group.unfinished = false,
            Err(error) => {
                self.connection = None;
                self.end(Err(Arc::new(error)));
            }
        }
    }

    /// Ends the group, if one is open.
    async fn commit(&mut self) {
        self.undo_unfinished().await;
        if self.group.is_none() {
            return;
        }
        let timer = self.commit_seconds.start_timer();
        let committed = match self.connection.take() {
            Some(mut connection) => {
                let late = || Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()));
                let committed = tokio::time::timeout(COMMIT_DEADLINE, sqlx::query("COMMIT").execute(&mut connection)).await;
                committed.unwrap_or_else(|_| late()).map(|_| connection)
            }
            None => Err(sqlx::Error::WorkerCrashed),
        };
        match committed {
            Ok(connection) => {
                timer.observe_duration();
                self.connection = Some(connection);
                self.end(Ok(()));
            }
            Err(error) => {
                timer.stop_and_discard();
                self.end(Err(Arc::new(error)));
            }
        }
    }

    fn end(&mut self, outcome: Outcome) {
        let Some(group) = self.group.take() else { return };
        if outcome.is_ok() {
            self.signals.announce(group.version, group.wake);
            if let Some(checkpoints) = &mut self.checkpoints {
                checkpoints.committed(group.transactions);
            }
        }
        group.outcome.send_replace(Some(outcome));
    }
}

impl Write {
    /// From here on the transaction stands, if its group does.
    fn keep(mut self) -> Result<signal::Receiver<Option<Outcome>>> {
        let group = self.tx.0.group.as_mut().ok_or_else(lost)?;
        group.unfinished = false;
        group.version = group.version.max(self.version);
        group.wake |= self.wake;
        Ok(group.outcome.subscribe())
    }

    /// The resource version of everything that this transaction changes. Versions are committed in their order.
    pub(super) async fn version(&mut self) -> Result<i64> {
        if let Some(version) = self.version {
            return Ok(version);
        }
        let version: i64 =
            sqlx::query_scalar("UPDATE counters SET value = value + 1 WHERE name = 'resource_version' RETURNING value")
                .fetch_one(&mut *self.tx)
                .await?;
        self.version = Some(version);
        Ok(version)
    }

    /// Makes the experiment visibly newer, for watchers.
    pub(super) async fn touch(&mut self, uid: ExperimentUid) -> Result<()> {
        let version = self.version().await?;
        sqlx::query("UPDATE experiments SET resource_version = $1 WHERE uid = $2")
            .bind(version)
            .bind(uid.to_string())
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }
}

fn lost() -> Error {
    Error::Database(sqlx::Error::WorkerCrashed)
}

impl Deref for Tx {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        self.0.connection.as_ref().expect("taken only by begin, commit and undo, which hold the turn themselves")
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        self.0.connection.as_mut().expect("taken only by begin, commit and undo, which hold the turn themselves")
    }
}
