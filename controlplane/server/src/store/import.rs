//! An experiment that was measured without this server: stored as one that has ended, so that no job is ever submitted for it.

use em_api::ExperimentUid;
use em_api::experiment::Experiment;
use em_api::status::Phase;

use tracing::warn;

use super::attempts::{AttemptState, End, EndKind};
use super::codec::{opt_time, spell, time};
use super::events::NewEvent;
use super::experiments::{self, Creation, Stored, fresh, insert, insert_shards};
use super::handed_in::{Delivery, PutOutcome};
use super::{Error, Result, Store, Write, now, transitions};
use crate::admit::NameChoice;
use crate::import::Import;

/// Records in one transaction.
const BATCH: usize = 500;

impl Store {
    /// Stores the experiment with the plan's ids, then its measurements and records. Safe to repeat: what is there already stays.
    /// Errors: [`Error::NameTaken`] when another experiment has the name.
    pub async fn import(&self, import: &Import, owner: &str) -> Result<Creation> {
        let uid = import.plan.experiment_uid;
        let new = self.import_ended(import, owner).await?;
        for measurement in &import.measurements {
            let (outcome, _) = self.put_measurement(import.plan.attempt, measurement, Delivery::Import).await?;
            if let PutOutcome::Foreign(message) = outcome {
                warn!(attempt.id = %import.plan.attempt, "an imported measurement was left out: {message}");
            }
        }
        for (epoch, records) in &import.records {
            for batch in records.chunks(BATCH) {
                self.import_records(import.plan.attempt, *epoch, batch).await?;
            }
        }
        let experiment = self.by_uid(uid).await?;
        Ok(if new { Creation::New(experiment) } else { Creation::Existing(experiment) })
    }

    async fn import_ended(&self, import: &Import, owner: &str) -> Result<bool> {
        let uid = import.plan.experiment_uid;
        let mut write = self.write().await?;
        if write.by_uid(uid).await?.is_some() {
            self.commit(write).await?;
            return Ok(false);
        }
        let name = match &import.admitted.name {
            NameChoice::Given(name) => name.clone(),
            NameChoice::Generate(_) => import.plan.experiment.clone(),
        };
        if let Some(held) = write.by_name(&name).await? {
            self.commit(write).await?;
            return Err(Error::NameTaken(Box::new(self.complete(held).await?)));
        }
        let version = write.version().await?;
        let stored = Stored { uid, ..fresh(&import.admitted, name, owner, version) };
        insert(&mut write, &stored).await?;
        insert_shards(&mut write, uid, std::slice::from_ref(&import.shard)).await?;
        let (measured, planned) = import.measured();
        let words = format!("imported: {measured} of {planned} trials measured by a run without a server");
        let phase = if measured == planned { Phase::Succeeded } else { Phase::Failed };
        let span = import.span();
        sqlx::query(
            "UPDATE experiments SET phase = $1, message = $2, observed_generation = 1, started_at = $3, finished_at = $4,
                                    cleanup_at = $4, settled = 1
             WHERE uid = $5",
        )
        .bind(spell(&phase))
        .bind(words.clone())
        .bind(opt_time(span.map(|(started_at, _)| started_at)))
        .bind(opt_time(span.map(|(_, finished_at)| finished_at).or(Some(stored.created_at))))
        .bind(uid.to_string())
        .execute(&mut *write.tx)
        .await?;
        self.insert_attempt(&mut write, import, &words).await?;
        write.event(uid, stored.created_at, &NewEvent::normal(format!("user:{owner}"), "Imported", words)).await?;
        self.commit(write).await?;
        Ok(true)
    }

    async fn insert_attempt(&self, write: &mut Write, import: &Import, words: &str) -> Result<()> {
        let plan = &import.plan;
        sqlx::query(
            "INSERT INTO attempts (id, experiment_uid, shard_id, number, job_name, token_sha256, created_at, revision, state,
                                   not_before, epoch, log_bytes)
             VALUES ($1, $2, $3, 1, $4, '', $5, 0, 'Intended', $5, 0, 0)",
        )
        .bind(plan.attempt.to_string())
        .bind(plan.experiment_uid.to_string())
        .bind(import.shard.id.to_string())
        .bind(self.job_name(plan.attempt))
        .bind(time(now()))
        .execute(&mut *write.tx)
        .await?;
        let end = End { kind: EndKind::Closed, reason: "Imported".to_owned(), message: words.to_owned() };
        transitions::save(write, plan.attempt, 0, &AttemptState::Ended { at: now(), end, job: None, over: None }, None).await
    }

    async fn by_uid(&self, uid: ExperimentUid) -> Result<Experiment> {
        let row = sqlx::query("SELECT * FROM experiments WHERE uid = $1").bind(uid.to_string()).fetch_optional(&self.pool).await?;
        let row = row.ok_or_else(|| Error::NotFound(format!("experiment {uid}")))?;
        self.complete(experiments::read(&row)?).await
    }
}

impl Write {
    async fn by_uid(&mut self, uid: ExperimentUid) -> Result<Option<Stored>> {
        let row =
            sqlx::query("SELECT * FROM experiments WHERE uid = $1").bind(uid.to_string()).fetch_optional(&mut *self.tx).await?;
        row.as_ref().map(experiments::read).transpose()
    }
}
