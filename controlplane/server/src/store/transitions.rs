//! The reconciler's writes: new attempts, their states, and what experiments show. Each compares the revision that was read
//! and is refused with [`Error::Stale`] when somebody was faster: look again, decide again.

use em_api::status::{Condition, Phase, TrialCounts};
use em_api::{AttemptId, ExperimentUid, ShardId, Timestamp};

use super::attempts::{AttemptState, Cancel, Over, SlurmJob};
use super::codec::{json, opt_time, spell, time};
use super::events::NewEvent;
use super::outbox::NewNotification;
use super::{Error, Result, Store, now};
use crate::mutants::{Mutant, made};

/// What an experiment shows, as the reconciler sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    pub phase: Phase,
    pub message: Option<String>,
    pub conditions: Vec<Condition>,
    /// Of an experiment that has ended.
    pub trials: Option<TrialCounts>,
    pub observed_generation: u64,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// Nothing is left to do until a user changes something.
    pub settled: bool,
}

impl Store {
    /// Records the intent to submit a job, before anything outside happens. Errors: [`Error::Stale`] when the shard has an open
    /// attempt, so that it never has two.
    pub async fn create_attempt(
        &self,
        uid: ExperimentUid,
        shard: ShardId,
        number: u32,
        not_before: Timestamp,
    ) -> Result<AttemptId> {
        let id = AttemptId::generate();
        let mut write = self.write().await?;
        // Takes the counter's lock first: what is read next stays true until the commit.
        write.touch(uid).await?;
        let open: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM attempts WHERE shard_id = $1 AND state <> 'Ended'")
            .bind(shard.to_string())
            .fetch_one(&mut *write.tx)
            .await?;
        if open > 0 {
            return Err(Error::Stale("shard"));
        }
        sqlx::query(
            "INSERT INTO attempts (id, experiment_uid, shard_id, number, job_name, token_sha256, created_at, revision, state,
                                   not_before, epoch, log_bytes)
             VALUES ($1, $2, $3, $4, $5, '', $6, 0, 'Intended', $7, 0, 0)",
        )
        .bind(id.to_string())
        .bind(uid.to_string())
        .bind(shard.to_string())
        .bind(i64::from(number))
        .bind(self.job_name(id))
        .bind(time(now()))
        .bind(time(not_before))
        .execute(&mut *write.tx)
        .await?;
        self.commit(write).await?;
        Ok(id)
    }

    /// `em-<server8>-<ulid>`: what Slurm's listing is searched for.
    pub fn job_name(&self, id: AttemptId) -> String {
        format!("{}{}", self.job_prefix(), id.to_string().to_lowercase())
    }

    pub fn job_prefix(&self) -> String {
        format!("em-{}-", self.server8())
    }

    /// From here `sbatch` may run. The token is made anew: an earlier one was in no job, or in one that the claim will fence.
    pub async fn begin_submitting(&self, id: AttemptId, revision: i64, token_sha256: &str, since: Timestamp) -> Result<()> {
        let changed = sqlx::query("UPDATE attempts SET token_sha256 = $1 WHERE id = $2 AND revision = $3 AND state = 'Intended'");
        let mut write = self.write().await?;
        let changed = changed
            .bind(token_sha256.to_owned())
            .bind(id.to_string())
            .bind(revision)
            .execute(&mut *write.tx)
            .await?
            .rows_affected();
        if changed != 1 {
            return Err(Error::Stale("attempt"));
        }
        save(&mut write, id, revision, &AttemptState::Submitting { since }, None).await?;
        self.commit(write).await
    }

    /// From here a second job of the attempt can no longer claim: it is about to be cancelled. Errors: [`Error::Stale`] when the
    /// row has changed, for then it may hold the claim.
    pub async fn refuse_job(&self, id: AttemptId, revision: i64, job_id: &str) -> Result<()> {
        let mut write = self.write().await?;
        let changed = sqlx::query(
            "UPDATE attempts SET refused_jobs = TRIM(COALESCE(refused_jobs, '') || ' ' || $1), revision = revision + 1
             WHERE id = $2 AND revision = $3",
        )
        .bind(job_id.to_owned())
        .bind(id.to_string())
        .bind(revision)
        .execute(&mut *write.tx)
        .await?;
        if changed.rows_affected() != 1 {
            return Err(Error::Stale("attempt"));
        }
        self.commit(write).await
    }

    /// Moves an attempt to a state.
    pub async fn save_attempt(&self, id: AttemptId, revision: i64, state: &AttemptState, event: Option<&NewEvent>) -> Result<()> {
        let mut write = self.write().await?;
        save(&mut write, id, revision, state, event).await?;
        self.commit(write).await
    }

    /// Stores what an experiment shows.
    pub async fn save_standing(&self, uid: ExperimentUid, revision: i64, standing: &Standing, events: &[NewEvent]) -> Result<()> {
        self.save_end(uid, revision, standing, events, None).await
    }

    /// The same, and in the same transaction what the webhook is to be told.
    pub async fn save_end(
        &self,
        uid: ExperimentUid,
        revision: i64,
        standing: &Standing,
        events: &[NewEvent],
        notification: Option<&NewNotification>,
    ) -> Result<()> {
        let mut write = self.write().await?;
        let revision = write.revision_of("SELECT revision FROM experiments WHERE uid = $1", &uid, revision).await?;
        let version = write.version().await?;
        let changed = sqlx::query(
            "UPDATE experiments SET phase = $1, message = $2, conditions = $3, observed_generation = $4, started_at = $5,
                                    finished_at = $6, cleanup_at = $6, settled = $7, resource_version = $8, trials = $9,
                                    revision = revision + 1
             WHERE uid = $10 AND revision = $11",
        )
        .bind(spell(&standing.phase))
        .bind(standing.message.clone())
        .bind(json(&standing.conditions))
        .bind(standing.observed_generation.cast_signed())
        .bind(opt_time(standing.started_at))
        .bind(opt_time(standing.finished_at))
        .bind(i64::from(standing.settled))
        .bind(version)
        .bind(standing.trials.as_ref().map(json))
        .bind(uid.to_string())
        .bind(revision)
        .execute(&mut *write.tx)
        .await?;
        if changed.rows_affected() != 1 {
            return Err(Error::Stale("experiment"));
        }
        for event in events {
            write.event(uid, now(), event).await?;
        }
        if let Some(notification) = notification {
            write.notification(uid, notification).await?;
        }
        self.commit(write).await
    }

    /// Adds an event that goes with no other write.
    pub async fn add_event(&self, uid: ExperimentUid, event: &NewEvent) -> Result<()> {
        let mut write = self.write().await?;
        write.event(uid, now(), event).await?;
        self.commit(write).await
    }

    /// Removes a deleted experiment with everything below it. Watchers learn it from the tombstone. Its folder in the job
    /// directory is left to clean-up.
    pub async fn remove_experiment(&self, uid: ExperimentUid, revision: i64) -> Result<()> {
        let mut write = self.write().await?;
        let version = write.version().await?;
        sqlx::query(
            "INSERT INTO tombstones (uid, name, resource_version, deleted_at)
             SELECT uid, name, $1, $2 FROM experiments WHERE uid = $3",
        )
        .bind(version)
        .bind(time(now()))
        .bind(uid.to_string())
        .execute(&mut *write.tx)
        .await?;
        sqlx::query(
            "INSERT INTO leftovers (experiment_uid, name, tries, next_at) SELECT uid, name, 0, $1 FROM experiments WHERE uid = $2",
        )
        .bind(time(now()))
        .bind(uid.to_string())
        .execute(&mut *write.tx)
        .await?;
        let removed = sqlx::query("DELETE FROM experiments WHERE uid = $1 AND revision = $2 AND deleted_at IS NOT NULL")
            .bind(uid.to_string())
            .bind(revision)
            .execute(&mut *write.tx)
            .await?;
        if removed.rows_affected() != 1 {
            return Err(Error::Stale("experiment"));
        }
        self.commit(write).await
    }
}

/// The columns of a state; those of other states become NULL.
#[derive(Default)]
struct StateColumns<'a> {
    state: &'static str,
    not_before: Option<Timestamp>,
    submitting_at: Option<Timestamp>,
    job: Option<&'a SlurmJob>,
    missing_since: Option<Timestamp>,
    cancel: Option<&'a Cancel>,
    over: Option<&'a Over>,
    ended_at: Option<Timestamp>,
    end: Option<&'a super::attempts::End>,
}

impl<'a> StateColumns<'a> {
    fn of(state: &'a AttemptState) -> Self {
        match state {
            AttemptState::Intended { not_before } => Self { state: "Intended", not_before: Some(*not_before), ..Self::default() },
            AttemptState::Submitting { since } => Self { state: "Submitting", submitting_at: Some(*since), ..Self::default() },
            AttemptState::Submitted(submitted) => Self {
                state: "Submitted",
                job: Some(&submitted.job),
                missing_since: submitted.missing_since,
                cancel: submitted.cancel.as_ref(),
                over: submitted.over.as_ref(),
                ..Self::default()
            },
            AttemptState::Ended { at, end, job, over } => Self {
                state: "Ended",
                job: job.as_ref(),
                over: over.as_ref(),
                ended_at: Some(*at),
                end: Some(end),
                ..Self::default()
            },
        }
    }
}

impl super::Write {
    /// The revision that a decision was made from; a mutant takes whatever there is.
    async fn revision_of(&mut self, sql: &'static str, id: &impl ToString, decided_from: i64) -> Result<i64> {
        if !made(Mutant::StatusWithoutVersionCheck) {
            return Ok(decided_from);
        }
        Ok(sqlx::query_scalar(sql).bind(id.to_string()).fetch_optional(&mut *self.tx).await?.unwrap_or(decided_from))
    }
}

pub(super) async fn save(
    write: &mut super::Write,
    id: AttemptId,
    revision: i64,
    state: &AttemptState,
    event: Option<&NewEvent>,
) -> Result<()> {
    let revision = write.revision_of("SELECT revision FROM attempts WHERE id = $1", &id, revision).await?;
    let columns = StateColumns::of(state);
    let job = columns.job;
    let stale = || Error::Stale("attempt");
    let uid: String = sqlx::query_scalar(
        "UPDATE attempts SET revision = revision + 1, state = $1, not_before = $2, submitting_at = $3, job_id = $4, cluster = $5,
                slurm_state = $6, slurm_reason = $7, job_node = $8, submitted_at = $9, started_at = $10, expected_start = $11,
                ends_at = $12, missing_since = $13, cancel_sent_at = $14, cancel_reason = $15, cancel_message = $16, over_at = $17,
                outcome = $18, exit_code = $19, spool_read = $20, ended_at = $21, end_kind = $22, end_reason = $23,
                end_message = $24, restarts = $25, cancel_since = $26
         WHERE id = $27 AND revision = $28 RETURNING experiment_uid",
    )
    .bind(columns.state)
    .bind(opt_time(columns.not_before))
    .bind(opt_time(columns.submitting_at))
    .bind(job.map(|job| job.id.clone()))
    .bind(job.and_then(|job| job.cluster.clone()))
    .bind(job.and_then(|job| job.state.clone()))
    .bind(job.and_then(|job| job.reason.clone()))
    .bind(job.and_then(|job| job.node.clone()))
    .bind(opt_time(job.and_then(|job| job.submitted_at)))
    .bind(opt_time(job.and_then(|job| job.started_at)))
    .bind(opt_time(job.and_then(|job| job.expected_start)))
    .bind(opt_time(job.and_then(|job| job.ends_at)))
    .bind(opt_time(columns.missing_since))
    .bind(opt_time(columns.cancel.map(|cancel| cancel.sent_at)))
    .bind(columns.cancel.map(|cancel| spell(&cancel.why)))
    .bind(columns.cancel.map(|cancel| cancel.message.clone()))
    .bind(opt_time(columns.over.map(|over| over.at)))
    .bind(columns.over.map(|over| spell(&over.outcome)))
    .bind(columns.over.and_then(|over| over.exit_code).map(i64::from))
    .bind(columns.over.map(|over| i64::from(over.spool_read)))
    .bind(opt_time(columns.ended_at))
    .bind(columns.end.map(|end| spell(&end.kind)))
    .bind(columns.end.map(|end| end.reason.clone()))
    .bind(columns.end.map(|end| end.message.clone()))
    .bind(job.and_then(|job| job.restarts).map(i64::from))
    .bind(opt_time(columns.cancel.map(|cancel| cancel.since)))
    .bind(id.to_string())
    .bind(revision)
    .fetch_optional(&mut *write.tx)
    .await?
    .ok_or_else(stale)?;
    let uid: ExperimentUid = uid.parse().map_err(|source| super::codec::corrupt("experiment_uid", source))?;
    write.touch(uid).await?;
    if let Some(event) = event {
        write.event(uid, now(), event).await?;
    }
    Ok(())
}
