//! What changed since a version. Watchers read the database, so a slow one costs no memory and a returning one misses nothing; how
//! far back they may have been away is bounded by [`Store::compact`].

use em_api::experiment::Experiment;
use em_api::{ExperimentUid, Timestamp};

use super::codec::{Columns, time};
use super::experiments::{self, Stored};
use super::{Error, Result, Store};

#[derive(Clone, Debug)]
pub struct Change {
    pub version: i64,
    pub kind: ChangeKind,
}

#[derive(Clone, Debug)]
pub enum ChangeKind {
    /// Created or changed; in its latest state.
    Written(Box<Stored>),
    Removed {
        uid: ExperimentUid,
        name: String,
    },
}

/// Which versions a watcher can go on from: `compacted` and later, up to `newest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub compacted: i64,
    pub newest: i64,
}

impl Store {
    pub async fn span(&self) -> Result<Span> {
        let rows = sqlx::query("SELECT name, value FROM counters WHERE name IN ('compacted_version', 'resource_version')")
            .fetch_all(&self.pool)
            .await?;
        let mut span = Span { compacted: 0, newest: 0 };
        for row in &rows {
            match row.text("name")?.as_str() {
                "compacted_version" => span.compacted = row.int("value")?,
                "resource_version" => span.newest = row.int("value")?,
                _ => {}
            }
        }
        Ok(span)
    }

    /// About `limit` changes after version `since`, oldest first, each experiment once. Changes of one version come together.
    pub async fn changes(&self, since: i64, limit: i64) -> Result<Vec<Change>> {
        // Both tables up to the same version: what is committed between the two reads comes with the next page, in its order.
        let newest = self.span().await?.newest;
        let (written, removed) = (self.written(since, newest, limit).await?, self.removed(since, newest, limit).await?);
        let cut = |page: &[Change]| page.last().filter(|_| page.len() as i64 >= limit).map(|last| last.version);
        let cut = cut(&written).into_iter().chain(cut(&removed)).min();
        let mut changes = [written, removed].concat();
        changes.sort_by_key(|change| change.version);
        let Some(cut) = cut else { return Ok(changes) };
        // A full page may end in the midst of one version: that one comes whole with the next page.
        changes.retain(|change| change.version < cut);
        if changes.is_empty() {
            changes = [self.written(cut - 1, cut, i64::MAX).await?, self.removed(cut - 1, cut, i64::MAX).await?].concat();
        }
        Ok(changes)
    }

    async fn written(&self, since: i64, until: i64, limit: i64) -> Result<Vec<Change>> {
        let rows = sqlx::query(
            "SELECT * FROM experiments WHERE resource_version > $1 AND resource_version <= $2 ORDER BY resource_version LIMIT $3",
        )
        .bind(since)
        .bind(until)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        let change = |row| {
            let stored = experiments::read(row)?;
            Ok(Change { version: stored.resource_version, kind: ChangeKind::Written(Box::new(stored)) })
        };
        rows.iter().map(change).collect()
    }

    async fn removed(&self, since: i64, until: i64, limit: i64) -> Result<Vec<Change>> {
        let rows = sqlx::query(
            "SELECT uid, name, resource_version FROM tombstones WHERE resource_version > $1 AND resource_version <= $2
             ORDER BY resource_version LIMIT $3",
        )
        .bind(since)
        .bind(until)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        let change = |row: &sqlx::any::AnyRow| {
            let kind = ChangeKind::Removed { uid: row.parsed("uid")?, name: row.text("name")? };
            Ok(Change { version: row.int("resource_version")?, kind })
        };
        rows.iter().map(change).collect()
    }

    /// Forgets removals from before `older_than`; how many. Watchers that know nothing newer have to list again.
    pub async fn compact(&self, older_than: Timestamp) -> Result<u64> {
        let mut write = self.write().await?;
        let horizon: Option<i64> = sqlx::query_scalar("SELECT MAX(resource_version) FROM tombstones WHERE deleted_at < $1")
            .bind(time(older_than))
            .fetch_one(&mut *write.tx)
            .await?;
        let Some(horizon) = horizon else { return Ok(0) };
        let removed =
            sqlx::query("DELETE FROM tombstones WHERE resource_version <= $1").bind(horizon).execute(&mut *write.tx).await?;
        sqlx::query("UPDATE counters SET value = $1 WHERE name = 'compacted_version'")
            .bind(horizon)
            .execute(&mut *write.tx)
            .await?;
        self.commit(write).await?;
        Ok(removed.rows_affected())
    }

    /// One experiment in its latest state; `None` when it is gone.
    pub async fn experiment_if_any(&self, name: &str) -> Result<Option<Experiment>> {
        match self.experiment(name).await {
            Ok(experiment) => Ok(Some(experiment)),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
