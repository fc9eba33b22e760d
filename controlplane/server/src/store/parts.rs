//! What is below experiments: their shards, attempts and handed-in measurements, read for any number of them with three queries.

use std::collections::HashMap;

use em_api::ExperimentUid;
use sqlx::any::AnyRow;

use super::attempts::{self, Attempt};
use super::codec::Columns;
use super::counted::Handed;
use super::lists::rows_of;
use super::{Error, Result, Store, handed_in};
use crate::admit::expand::Shard;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Parts {
    /// In their order.
    pub(super) shards: Vec<Shard>,
    /// Oldest first.
    pub(super) attempts: Vec<Attempt>,
    /// Accepted ones, in the order they came.
    pub(super) handed: Vec<Handed>,
}

const ATTEMPTS: &str = "SELECT * FROM attempts WHERE experiment_uid IN ($LIST) ORDER BY created_at, id";

/// A row an experiment, with a line a measurement: to fetch thousands of rows takes several times as long, and so do numbers as texts.
/// What is no plain word stands last in its line.
const HANDED: &str = "SELECT experiment_uid, string_agg(
    format('%s %s %s %s %s %s %s %s %s %s', trial_id, block_id, attempt_id, epoch, outcome, verdict, started_at, finished_at, received_at,
           '=' || REPLACE(reason, '\n', ' ')), '\n' ORDER BY received_at, trial_id) AS handed
    FROM measurements WHERE experiment_uid IN ($LIST) AND accepted = 1 GROUP BY experiment_uid";

/// By experiment. What cannot be read spoils its own experiment alone.
pub(super) struct PartsOf(HashMap<String, Result<Parts>>);

impl Store {
    pub(super) async fn parts(&self, uid: ExperimentUid) -> Result<Parts> {
        self.parts_of(&[uid]).await?.take(uid)
    }

    pub(super) async fn parts_of(&self, uids: &[ExperimentUid]) -> Result<PartsOf> {
        let ids: Vec<String> = uids.iter().map(ToString::to_string).collect();
        let mut parts = PartsOf(HashMap::with_capacity(ids.len()));
        let shards =
            "SELECT experiment_uid, id, blocks FROM shards WHERE experiment_uid IN ($LIST) ORDER BY experiment_uid, ordinal";
        // Shards never change, so they may come beside. Measurements come last: none that an attempt rests on may be missing.
        let (shards, attempts) = tokio::try_join!(rows_of(&self.pool, shards, &ids), rows_of(&self.pool, ATTEMPTS, &ids))?;
        for row in shards {
            parts.add(&row, |parts| {
                parts.shards.push(Shard { id: row.parsed("id")?, blocks: row.read_json("blocks")? });
                Ok(())
            })?;
        }
        parts.add_attempts(attempts)?;
        for row in rows_of(&self.pool, HANDED, &ids).await? {
            parts.add(&row, |parts| {
                parts.handed = handed_in::read_all(&row.text("handed")?)?;
                Ok(())
            })?;
        }
        Ok(parts)
    }

    /// Their attempts alone.
    pub(super) async fn jobs_of(&self, uids: &[ExperimentUid]) -> Result<PartsOf> {
        let ids: Vec<String> = uids.iter().map(ToString::to_string).collect();
        let mut parts = PartsOf(HashMap::with_capacity(ids.len()));
        parts.add_attempts(rows_of(&self.pool, ATTEMPTS, &ids).await?)?;
        Ok(parts)
    }
}

impl PartsOf {
    fn add_attempts(&mut self, rows: Vec<AnyRow>) -> Result<()> {
        rows.iter().try_for_each(|row| {
            self.add(row, |parts| {
                parts.attempts.push(attempts::read(row)?);
                Ok(())
            })
        })
    }

    fn add(&mut self, row: &AnyRow, read: impl FnOnce(&mut Parts) -> Result<()>) -> Result<()> {
        let entry = self.0.entry(row.text("experiment_uid")?).or_insert_with(|| Ok(Parts::default()));
        let Ok(parts) = entry else { return Ok(()) };
        match read(parts) {
            Err(error @ Error::Corrupt { .. }) => *entry = Err(error),
            other => other?,
        }
        Ok(())
    }

    /// Once for each experiment.
    pub(super) fn take(&mut self, uid: ExperimentUid) -> Result<Parts> {
        self.0.remove(&uid.to_string()).unwrap_or_else(|| Ok(Parts::default()))
    }
}
