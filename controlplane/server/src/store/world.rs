//! Everything that the reconciler decides from, as rows: experiments that are not settled, with what is below them.

use super::attempts::Attempt;
use super::counted::Handed;
use super::experiments::{self, Stored};
use super::parts::Parts;
use super::{Error, Result, Store};
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
    /// Higher priority first, then older first. As many queries for a thousand as for one.
    pub async fn open_experiments(&self) -> Result<Vec<Open>> {
        let rows =
            sqlx::query("SELECT * FROM experiments WHERE settled = 0 ORDER BY created_at, uid").fetch_all(&self.pool).await?;
        let read: Vec<Stored> =
            rows.iter().filter_map(|row| readable(experiments::read(row)).transpose()).collect::<Result<_>>()?;
        let mut parts = self.parts_of(&read.iter().map(|stored| stored.uid).collect::<Vec<_>>()).await?;
        let mut open = Vec::with_capacity(read.len());
        for stored in read {
            if let Some(Parts { shards, attempts, handed }) = readable(parts.take(stored.uid))? {
                open.push(Open { stored, shards, attempts, handed });
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
}

/// One experiment that this version cannot read must not stop all the others.
fn readable<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(read) => Ok(Some(read)),
        Err(error @ Error::Corrupt { .. }) => {
            tracing::error!(error = &error as &dyn std::error::Error, "an experiment is left alone: it cannot be read");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
