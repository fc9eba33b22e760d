//! Parity vectors and the agents' last Prometheus expositions.

use em_api::agent::ParityVectors;
use em_api::{AttemptId, ExperimentUid, Timestamp};

use super::attempts::Attempt;
use super::codec::{Columns, json, plain, time};
use super::{Result, Store, Write, now};

/// An agent whose exposition can be scraped through us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrapeTarget {
    pub attempt: AttemptId,
    pub experiment: String,
    pub node: Option<String>,
    pub job_id: Option<String>,
}

impl Write {
    pub(super) async fn keep_parity(&mut self, attempt: &Attempt, epoch: u32, seq: u64, vectors: &ParityVectors) -> Result<()> {
        sqlx::query(
            "INSERT INTO parity (attempt_id, epoch, seq, experiment_uid, body) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (attempt_id, epoch, seq) DO NOTHING",
        )
        .bind(attempt.id.to_string())
        .bind(i64::from(epoch))
        .bind(seq.cast_signed())
        .bind(attempt.experiment.to_string())
        .bind(json(vectors))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    pub(super) async fn keep_exposition(&mut self, attempt: &Attempt, epoch: u32, seq: u64, text: &str) -> Result<()> {
        sqlx::query(
            "INSERT INTO expositions (attempt_id, epoch, seq, received_at, body) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (attempt_id) DO UPDATE SET epoch = $2, seq = $3, received_at = $4, body = $5
             WHERE expositions.epoch < $2 OR (expositions.epoch = $2 AND expositions.seq < $3)",
        )
        .bind(attempt.id.to_string())
        .bind(i64::from(epoch))
        .bind(seq.cast_signed())
        .bind(time(now()))
        .bind(plain(text))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}

impl Store {
    pub async fn parity(&self, uid: ExperimentUid) -> Result<Vec<ParityVectors>> {
        let rows = sqlx::query("SELECT body FROM parity WHERE experiment_uid = $1 ORDER BY attempt_id, epoch, seq")
            .bind(uid.to_string())
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| row.read_json("body")).collect()
    }

    /// How many sets of parity vectors came: with the measurements' hashes, what results are cached by.
    pub async fn parity_count(&self, uid: ExperimentUid) -> Result<i64> {
        Ok(sqlx::query_scalar("SELECT COUNT(*) FROM parity WHERE experiment_uid = $1")
            .bind(uid.to_string())
            .fetch_one(&self.pool)
            .await?)
    }

    /// The last exposition of an attempt and when it came.
    pub async fn exposition(&self, attempt: AttemptId) -> Result<Option<(Timestamp, String)>> {
        let row = sqlx::query("SELECT received_at, body FROM expositions WHERE attempt_id = $1")
            .bind(attempt.to_string())
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| Ok((row.time("received_at")?, row.text("body")?))).transpose()
    }

    /// Claimed attempts that have not ended.
    pub async fn scrape_targets(&self) -> Result<Vec<ScrapeTarget>> {
        let rows = sqlx::query(
            "SELECT a.id, a.claim_node, a.claim_job_id, e.name FROM attempts a JOIN experiments e ON e.uid = a.experiment_uid
             WHERE a.state = 'Submitted' AND a.boot_nonce IS NOT NULL ORDER BY a.id",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(ScrapeTarget {
                    attempt: row.parsed("id")?,
                    experiment: row.text("name")?,
                    node: row.opt_text("claim_node")?,
                    job_id: row.opt_text("claim_job_id")?,
                })
            })
            .collect()
    }
}
