//! SQLite's write-ahead log is moved into the database beside the writer, on a connection for reading. By the writer, as SQLite does it
//! by itself, each time some megabytes are written and flushed while everybody waits for the next commit.

use std::sync::Arc;

use sqlx::AnyPool;
use tokio::sync::Mutex;

/// Transactions between two: a few megabytes.
const TRANSACTIONS: u32 = 256;

pub(super) struct Checkpoints {
    pool: AnyPool,
    transactions: u32,
    /// Held by the one that runs.
    running: Arc<Mutex<()>>,
}

impl Checkpoints {
    pub(super) fn new(pool: AnyPool) -> Self {
        Self { pool, transactions: 0, running: Arc::default() }
    }

    /// Begins one when it is time.
    pub(super) fn committed(&mut self, transactions: u32) {
        self.transactions += transactions;
        if self.transactions < TRANSACTIONS {
            return;
        }
        // Not done by then: the next commit asks again.
        let Ok(running) = Arc::clone(&self.running).try_lock_owned() else { return };
        self.transactions = 0;
        let pool = self.pool.clone();
        tokio::spawn(async move {
            let _running = running;
            // It moves what no reader needs and waits for nobody.
            if let Err(error) = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&pool).await {
                tracing::debug!(%error, "the write-ahead log stays for now");
            }
        });
    }
}
