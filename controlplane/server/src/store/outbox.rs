//! The outbox of notifications: written in the transaction that ends an experiment, emptied by the sender. So exactly the ended
//! experiments are told, each at least once, whatever crashes in between.

use em_api::status::{Phase, TrialCounts};
use em_api::{ExperimentUid, Timestamp};

use super::codec::{Columns, time};
use super::experiments::Stored;
use super::trials::{states, tally};
use super::{Result, Store, Write, now};

/// One that is still to be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    pub id: String,
    pub experiment: ExperimentUid,
    /// As it is sent, byte for byte.
    pub body: String,
    pub created_at: Timestamp,
    pub tries: u32,
}

/// One not yet stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewNotification {
    pub id: String,
    pub body: String,
}

impl Write {
    pub(super) async fn notification(&mut self, uid: ExperimentUid, new: &NewNotification) -> Result<()> {
        sqlx::query(
            "INSERT INTO notifications (id, experiment_uid, body, created_at, next_at, tries) VALUES ($1, $2, $3, $4, $4, 0)",
        )
        .bind(new.id.clone())
        .bind(uid.to_string())
        .bind(new.body.clone())
        .bind(time(now()))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}

impl Store {
    /// What an experiment's trials have come to, as it ends in `phase`.
    pub async fn trial_counts(&self, stored: &Stored, phase: Phase) -> Result<TrialCounts> {
        let uid = stored.uid;
        let (rows, handed, attempts) = (self.matrix(uid).await?, self.handed(uid).await?, self.attempts(uid).await?);
        Ok(tally(&states(&rows, &handed, &attempts, phase, stored.spec.retry_trials), &handed))
    }

    /// The first that are due. `never_beyond`: one that would be due later was put off before the clock was set back.
    pub async fn notifications_due(&self, never_beyond: Timestamp, limit: i64) -> Result<Vec<Pending>> {
        let rows = sqlx::query("SELECT * FROM notifications WHERE next_at <= $1 OR next_at > $2 ORDER BY next_at, id LIMIT $3")
            .bind(time(now()))
            .bind(time(never_beyond))
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Pending {
                    id: row.text("id")?,
                    experiment: row.parsed("experiment_uid")?,
                    body: row.text("body")?,
                    created_at: row.time("created_at")?,
                    tries: row.count("tries")?,
                })
            })
            .collect()
    }

    /// How many wait, and when the next is due.
    pub async fn notifications_waiting(&self) -> Result<(i64, Option<Timestamp>)> {
        let row = sqlx::query("SELECT COUNT(*) AS n, MIN(next_at) AS next_at FROM notifications").fetch_one(&self.pool).await?;
        Ok((row.int("n")?, row.opt_time("next_at")?))
    }

    /// Delivered, or given up.
    pub async fn notification_done(&self, id: &str) -> Result<()> {
        let mut write = self.write().await?;
        sqlx::query("DELETE FROM notifications WHERE id = $1").bind(id.to_owned()).execute(&mut *write.tx).await?;
        self.commit(write).await
    }

    pub async fn notification_later(&self, id: &str, at: Timestamp) -> Result<()> {
        let mut write = self.write().await?;
        sqlx::query("UPDATE notifications SET tries = tries + 1, next_at = $1 WHERE id = $2")
            .bind(time(at))
            .bind(id.to_owned())
            .execute(&mut *write.tx)
            .await?;
        self.commit(write).await
    }
}
