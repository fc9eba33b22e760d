//! Everything that the reconciler decides from, as rows: experiments that are not settled, with what is below them.

use em_api::ExperimentUid;

use super::attempts::Attempt;
use super::counted::Handed;
use super::experiments::{self, Stored};
use super::{Error, Result, Store, trials};
use crate::admit::expand::Shard;

/// An unsettled experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    pub stored: Stored,
    pub shards: Vec<Shard>,
    pub attempts: Vec<Attempt>,
    pub handed: Vec<Handed>,
}

impl Store {
    /// Higher priority first, then older first.
    pub async fn open_experiments(&self) -> Result<Vec<Open>> {
        let rows =
            sqlx::query("SELECT * FROM experiments WHERE settled = 0 ORDER BY created_at, uid").fetch_all(&self.pool).await?;
        let mut open = Vec::new();
        for row in &rows {
            // One row that this version cannot read must not stop all the others.
            let whole = match experiments::read(row) {
                Ok(stored) => self.with_parts(stored).await,
                Err(error) => Err(error),
            };
            match whole {
                Ok(whole) => open.push(whole),
                Err(error @ Error::Corrupt { .. }) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "an experiment is left alone: it cannot be read");
                }
                Err(error) => return Err(error),
            }
        }
        open.sort_by_key(|open| std::cmp::Reverse(open.stored.spec.priority));
        Ok(open)
    }

    /// Whether an attempt that has not ended has this job name: the last look before a job without an owner is cancelled.
    pub async fn owns_job(&self, name: &str) -> Result<bool> {
        let found: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM attempts WHERE job_name = $1 AND state <> 'Ended'")
            .bind(name.to_owned())
            .fetch_one(&self.pool)
            .await?;
        Ok(found > 0)
    }

    async fn with_parts(&self, stored: Stored) -> Result<Open> {
        let uid: ExperimentUid = stored.uid;
        let shards = trials::shards(&self.matrix(uid).await?);
        Ok(Open { shards, attempts: self.attempts(uid).await?, handed: self.handed(uid).await?, stored })
    }
}
