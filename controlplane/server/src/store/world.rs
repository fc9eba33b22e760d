//! Everything that the reconciler decides from, as rows: experiments that are not settled, with what is below them.

use em_api::ExperimentUid;

use super::attempts::Attempt;
use super::counted::Handed;
use super::experiments::{self, Stored};
use super::{Result, Store, trials};
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
            let stored = experiments::read(row)?;
            open.push(self.with_parts(stored).await?);
        }
        open.sort_by_key(|open| std::cmp::Reverse(open.stored.spec.priority));
        Ok(open)
    }

    async fn with_parts(&self, stored: Stored) -> Result<Open> {
        let uid: ExperimentUid = stored.uid;
        let shards = trials::shards(&self.matrix(uid).await?);
        Ok(Open { shards, attempts: self.attempts(uid).await?, handed: self.handed(uid).await?, stored })
    }
}
