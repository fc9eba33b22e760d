//! What clean-up takes away: experiments after their `ttl`, logs after `logsTtl`, folders of experiments that are gone. Small
//! transactions, so that agents and users never wait for it.

use em_api::status::Condition;
use em_api::{ExperimentUid, Timestamp};

use super::codec::{Columns, json, opt_time, time};
use super::events::NewEvent;
use super::experiments::{self, Stored};
use super::{Error, Result, Store, now};

/// Rows that one transaction removes.
const CHUNK: i64 = 2_000;

/// An experiment that is gone and whose folder in the job directory is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    pub uid: ExperimentUid,
    pub name: String,
    pub tries: u32,
}

impl Store {
    /// Experiments that have ended, have nothing left to do, and are to be looked at now.
    pub async fn cleanup_due(&self, limit: i64) -> Result<Vec<Stored>> {
        let rows = sqlx::query("SELECT * FROM experiments WHERE cleanup_at <= $1 AND settled = 1 ORDER BY cleanup_at LIMIT $2")
            .bind(time(now()))
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
        let mut due = Vec::new();
        for row in &rows {
            match experiments::read(row) {
                Ok(stored) => due.push(stored),
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "an experiment cannot be read; clean-up leaves it");
                    let uid = row.text("uid")?;
                    let mut write = self.write().await?;
                    sqlx::query("UPDATE experiments SET cleanup_at = NULL WHERE uid = $1")
                        .bind(uid)
                        .execute(&mut *write.tx)
                        .await?;
                    self.commit(write).await?;
                }
            }
        }
        Ok(due)
    }

    /// When to look again; not, when the row has changed since it was read.
    pub async fn cleanup_later(&self, stored: &Stored, at: Option<Timestamp>) -> Result<()> {
        let mut write = self.write().await?;
        sqlx::query("UPDATE experiments SET cleanup_at = $1 WHERE uid = $2 AND revision = $3")
            .bind(opt_time(at))
            .bind(stored.uid.to_string())
            .bind(stored.revision)
            .execute(&mut *write.tx)
            .await?;
        self.commit(write).await
    }

    /// Marks an ended experiment for removal, as a user's delete does. Errors: [`Error::Stale`].
    pub async fn expire_experiment(&self, stored: &Stored, event: &NewEvent) -> Result<()> {
        let mut write = self.write().await?;
        let at = now();
        let changed = sqlx::query(
            "UPDATE experiments SET deleted_at = $1, settled = 0, cleanup_at = NULL, revision = revision + 1
             WHERE uid = $2 AND revision = $3 AND deleted_at IS NULL",
        )
        .bind(time(at))
        .bind(stored.uid.to_string())
        .bind(stored.revision)
        .execute(&mut *write.tx)
        .await?;
        if changed.rows_affected() != 1 {
            return Err(Error::Stale("experiment"));
        }
        write.event(stored.uid, at, event).await?;
        write.wake = true;
        self.commit(write).await
    }

    /// Removes some of an experiment's log lines, oldest first. Whether some are left.
    pub async fn remove_some_logs(&self, uid: ExperimentUid) -> Result<bool> {
        let mut write = self.write().await?;
        let removed = sqlx::query(
            "DELETE FROM records WHERE experiment_uid = $1
             AND position < $2 + (SELECT MIN(position) FROM records WHERE experiment_uid = $1)",
        )
        .bind(uid.to_string())
        .bind(CHUNK)
        .execute(&mut *write.tx)
        .await?;
        self.commit(write).await?;
        Ok(removed.rows_affected() > 0)
    }

    /// The end of a removal of logs: what agents pushed last goes too, and the experiment says so. Errors: [`Error::Stale`].
    pub async fn logs_removed(&self, stored: &Stored, conditions: &[Condition], event: &NewEvent) -> Result<()> {
        let mut write = self.write().await?;
        let version = write.version().await?;
        let changed = sqlx::query(
            "UPDATE experiments SET conditions = $1, cleanup_at = finished_at, resource_version = $2, revision = revision + 1
             WHERE uid = $3 AND revision = $4",
        )
        .bind(json(&conditions))
        .bind(version)
        .bind(stored.uid.to_string())
        .bind(stored.revision)
        .execute(&mut *write.tx)
        .await?;
        if changed.rows_affected() != 1 {
            return Err(Error::Stale("experiment"));
        }
        sqlx::query("DELETE FROM expositions WHERE attempt_id IN (SELECT id FROM attempts WHERE experiment_uid = $1)")
            .bind(stored.uid.to_string())
            .execute(&mut *write.tx)
            .await?;
        write.event(stored.uid, now(), event).await?;
        self.commit(write).await
    }

    /// Folders to be tried now.
    pub async fn leftovers(&self, limit: i64) -> Result<Vec<Leftover>> {
        let rows = sqlx::query("SELECT * FROM leftovers WHERE next_at <= $1 ORDER BY next_at LIMIT $2")
            .bind(time(now()))
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| Ok(Leftover { uid: row.parsed("experiment_uid")?, name: row.text("name")?, tries: row.count("tries")? }))
            .collect()
    }

    /// The folder is gone, or is none of ours.
    pub async fn leftover_done(&self, uid: ExperimentUid) -> Result<()> {
        let mut write = self.write().await?;
        sqlx::query("DELETE FROM leftovers WHERE experiment_uid = $1").bind(uid.to_string()).execute(&mut *write.tx).await?;
        self.commit(write).await
    }

    pub async fn leftover_later(&self, uid: ExperimentUid, at: Timestamp) -> Result<()> {
        let mut write = self.write().await?;
        sqlx::query("UPDATE leftovers SET tries = tries + 1, next_at = $1 WHERE experiment_uid = $2")
            .bind(time(at))
            .bind(uid.to_string())
            .execute(&mut *write.tx)
            .await?;
        self.commit(write).await
    }
}
