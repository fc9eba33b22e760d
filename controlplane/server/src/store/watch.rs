//! What changed since a version. Watchers read the database, so a slow one costs no memory and a returning one misses nothing.

use em_api::experiment::Experiment;

use super::codec::Columns;
use super::{Error, Result, Store, experiments};

#[derive(Clone, Debug)]
pub struct Change {
    pub version: i64,
    pub kind: ChangeKind,
}

#[derive(Clone, Debug)]
pub enum ChangeKind {
    Added(Box<Experiment>),
    Modified(Box<Experiment>),
    Deleted { uid: String, name: String },
}

impl Store {
    /// Up to `limit` experiments that changed after version `since`, oldest change first, each in its latest state.
    pub async fn changes(&self, since: i64, limit: i64) -> Result<Vec<Change>> {
        let rows = sqlx::query("SELECT * FROM experiments WHERE resource_version > $1 ORDER BY resource_version LIMIT $2")
            .bind(since)
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
        let full = i64::try_from(rows.len()).is_ok_and(|found| found == limit);
        let stored = rows.iter().map(experiments::read).collect::<Result<Vec<_>>>()?;
        let added: Vec<bool> = stored.iter().map(|stored| stored.created_version > since).collect();
        let mut changes = Vec::new();
        for (experiment, added) in self.complete_all(stored).await?.into_iter().zip(added) {
            let version = experiment.metadata.resource_version.cast_signed();
            let experiment = Box::new(experiment);
            let kind = if added { ChangeKind::Added(experiment) } else { ChangeKind::Modified(experiment) };
            changes.push(Change { version, kind });
        }
        // A page that is full ends at its last version: removals beyond it come with the next page.
        let until = if full { changes.last().map_or(i64::MAX, |change| change.version) } else { i64::MAX };
        let rows = sqlx::query(
            "SELECT uid, name, resource_version FROM tombstones WHERE resource_version > $1 AND resource_version <= $2",
        )
        .bind(since)
        .bind(until)
        .fetch_all(&self.pool)
        .await?;
        for row in &rows {
            let kind = ChangeKind::Deleted { uid: row.text("uid")?, name: row.text("name")? };
            changes.push(Change { version: row.int("resource_version")?, kind });
        }
        changes.sort_by_key(|change| change.version);
        Ok(changes)
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
