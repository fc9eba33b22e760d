//! Measurements as agents hand them in. The first body of a (trial, attempt, epoch) is accepted; the same again is fine; another
//! one is kept as evidence and refused.

use em_api::agent::Directive;
use em_api::measurement::{Measurement, Outcome};
use em_api::spec::Spec;
use em_api::status::{EventType, Phase};
use em_api::{AttemptId, ExperimentUid};
use sha2::{Digest, Sha256};

use super::attempts::Attempt;
use super::codec::{Columns, ago, json, plain, spell, time, word};
use super::counted::{Handed, OutcomeKind};
use super::events::NewEvent;
use super::{Error, Result, Store, Write, now};
use crate::admit::expand::Block;
use crate::mutants::{Mutant, made};

/// For this long after a job's end its agent may still deliver what it measured.
pub const DELIVERY_AFTER_END_S: i64 = 3600;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    Accepted,
    /// The same body was there already.
    Same,
    /// Another body was accepted before; this one is kept as evidence.
    Differs,
    /// A newer epoch holds the claim, or nobody does, or the experiment or the time to deliver is over.
    Fenced,
    /// The measurement is not of a trial of this attempt's shard, or contradicts its plan.
    Foreign(String),
}

/// How a measurement came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// By the agent itself: only the epoch that holds the claim is heard.
    Agent,
    /// From the job directory: an older epoch's work counts if it ended before the newer epoch claimed.
    Spool,
    /// With an experiment that was measured without this server, and stored as one that has ended.
    Import,
}

impl Store {
    /// Stores one measurement. `verdict` is what results code says of it, kept beside for lists.
    pub async fn put_measurement(
        &self,
        attempt: AttemptId,
        measurement: &Measurement,
        delivery: Delivery,
    ) -> Result<(PutOutcome, Directive)> {
        // Before it is our turn to write: it may be megabytes.
        let body = json(measurement);
        let sha256 = hex::encode(Sha256::digest(body.as_bytes()));
        let mut write = self.write().await?;
        let (attempt, directive) = write.attempt_and_directive(attempt).await?;
        let outcome = write.put(&attempt, measurement, delivery, body, sha256).await?;
        self.commit(write).await?;
        Ok((outcome, directive))
    }

    /// All accepted measurements of an experiment, in the order they came.
    pub async fn handed(&self, uid: ExperimentUid) -> Result<Vec<Handed>> {
        Ok(self.parts(uid).await?.handed)
    }

    /// The bodies of all accepted measurements, each with its hash.
    pub async fn measurements(&self, uid: ExperimentUid) -> Result<Vec<(String, Measurement)>> {
        let rows = sqlx::query(
            "SELECT sha256, body FROM measurements WHERE experiment_uid = $1 AND accepted = 1 ORDER BY received_at, trial_id",
        )
        .bind(uid.to_string())
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| Ok((row.text("sha256")?, row.read_json("body")?))).collect()
    }

    /// A hash over the accepted set: what results are cached by.
    pub async fn measurements_sha256(&self, uid: ExperimentUid) -> Result<String> {
        let hashes: Vec<String> =
            sqlx::query_scalar("SELECT sha256 FROM measurements WHERE experiment_uid = $1 AND accepted = 1 ORDER BY sha256")
                .bind(uid.to_string())
                .fetch_all(&self.pool)
                .await?;
        Ok(hex::encode(Sha256::digest(hashes.concat().as_bytes())))
    }
}

/// Lines of `trial block attempt epoch outcome verdict started finished received reason`; nothing where there is none, a reason
/// behind `=`.
pub(super) fn read_all(lines: &str) -> Result<Vec<Handed>> {
    lines.split('\n').map(|line| read(line).ok_or_else(|| unreadable(line))).collect()
}

fn read(line: &str) -> Option<Handed> {
    let mut words = line.splitn(10, ' ');
    let mut next = || words.next();
    Some(Handed {
        trial: next()?.parse().ok()?,
        block: next()?.parse().ok()?,
        attempt: next()?.parse().ok()?,
        epoch: next()?.parse().ok()?,
        outcome: word("outcome", next()?.to_owned()).ok()?,
        verdict: Some(next()?).filter(|text| !text.is_empty()).map(|text| word("verdict", text.to_owned())).transpose().ok()?,
        started_at: next()?.parse().ok()?,
        finished_at: next()?.parse().ok()?,
        received_at: next()?.parse().ok()?,
        reason: next()?.strip_prefix('=').map(str::to_owned),
    })
}

fn unreadable(line: &str) -> Error {
    Error::Corrupt { column: "measurements".to_owned(), source: format!("a measurement `{line}`").into() }
}

fn may_deliver(attempt: &Attempt, measurement: &Measurement, delivery: Delivery) -> bool {
    let in_time = attempt.end().is_none_or(|(_, at)| at > ago(now(), DELIVERY_AFTER_END_S));
    match (&attempt.claim, delivery) {
        (Some(_), _) if made(Mutant::FencedMeasurementCounts) => true,
        (Some(claim), Delivery::Agent) => measurement.epoch == claim.epoch && in_time,
        (None, Delivery::Agent) => false,
        (Some(claim), Delivery::Spool) => measurement.epoch >= claim.epoch || measurement.finished_at <= claim.at,
        // The whole job ran while the server was away: `mkdir` in the job directory decided the claim.
        (None, Delivery::Spool) | (_, Delivery::Import) => true,
    }
}

/// Why the measurement is not one of a trial of the attempt's shard.
fn contradiction(attempt: &Attempt, blocks: &[Block], measurement: &Measurement) -> Option<String> {
    let found = blocks.iter().find_map(|block| {
        let (backend, _) = block.trials.iter().find(|(_, trial)| *trial == measurement.trial)?;
        Some((block, backend))
    });
    let Some((block, backend)) = found else {
        return Some(format!("trial {} is not of this attempt's shard", measurement.trial));
    };
    if measurement.attempt != attempt.id {
        return Some(format!("the body says attempt {}, the address {}", measurement.attempt, attempt.id));
    }
    if measurement.backend != *backend || measurement.block != block.id {
        return Some(format!("trial {} is of backend {backend} in block {}", measurement.trial, block.id));
    }
    let (planned, said) =
        ((block.batch_size, block.load, block.repetition), (measurement.batch_size, measurement.load, measurement.repetition));
    if planned != said {
        let id = measurement.trial;
        return Some(format!("trial {id} has (batch size, load, repetition) {planned:?}, the measurement {said:?}"));
    }
    measurement.implausible()
}

async fn insert(
    write: &mut Write,
    attempt: &Attempt,
    measurement: &Measurement,
    spec: &Spec,
    accepted: bool,
    sha256: &str,
    body: String,
) -> Result<()> {
    let (kind, reason, texts_per_second) = match &measurement.outcome {
        Outcome::Measured { load } => {
            (OutcomeKind::Measured, None, (load.window_s > 0.0).then(|| load.texts_ok as f64 / load.window_s))
        }
        Outcome::Failed { reason, .. } => (OutcomeKind::Failed, Some(plain(reason)), None),
        Outcome::Interrupted { .. } => (OutcomeKind::Interrupted, Some("Interrupted".to_owned()), None),
    };
    let verdict = crate::results::verdict(measurement, spec).map(|(verdict, _)| spell(&verdict));
    sqlx::query(
        "INSERT INTO measurements (trial_id, attempt_id, epoch, sha256, experiment_uid, block_id, accepted, outcome, reason, verdict,
                                   texts_per_second, started_at, finished_at, received_at, body)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, CASE WHEN $16 = 1 THEN $11 END, $12, $13, $14, $15)
         ON CONFLICT (trial_id, attempt_id, epoch, sha256) DO NOTHING",
    )
    .bind(measurement.trial.to_string())
    .bind(attempt.id.to_string())
    .bind(i64::from(measurement.epoch))
    .bind(sha256.to_owned())
    .bind(attempt.experiment.to_string())
    .bind(measurement.block.to_string())
    .bind(i64::from(accepted))
    .bind(spell(&kind))
    .bind(reason)
    .bind(verdict)
    // Not an `Option`: sqlx 0.9 declares a NULL of this type to PostgreSQL as a shorter one, and the statement keeps that type.
    .bind(texts_per_second.unwrap_or_default())
    .bind(time(measurement.started_at))
    .bind(time(measurement.finished_at))
    .bind(time(now()))
    .bind(body)
    .bind(i64::from(texts_per_second.is_some()))
    .execute(&mut *write.tx)
    .await?;
    Ok(())
}

async fn announce(write: &mut Write, attempt: &Attempt, measurement: &Measurement) -> Result<()> {
    let what = format!("{} at batch {}, repetition {}", measurement.backend, measurement.batch_size, measurement.repetition);
    let event = match &measurement.outcome {
        Outcome::Measured { .. } => return write.touch(attempt.experiment).await,
        Outcome::Failed { reason, message, .. } => NewEvent {
            kind: EventType::Warning,
            who: "agent".to_owned(),
            reason: "TrialFailed",
            message: format!("{what}: {reason}: {message}"),
        },
        Outcome::Interrupted { message } => NewEvent::normal("agent", "TrialInterrupted", format!("{what}: {message}")),
    };
    write.event(attempt.experiment, now(), &event).await
}

impl Write {
    async fn put(
        &mut self,
        attempt: &Attempt,
        measurement: &Measurement,
        delivery: Delivery,
        body: String,
        sha256: String,
    ) -> Result<PutOutcome> {
        if !may_deliver(attempt, measurement, delivery) {
            return Ok(PutOutcome::Fenced);
        }
        let (blocks, spec, over) = self.plan_of(attempt).await?;
        if let Some(message) = contradiction(attempt, &blocks, measurement) {
            return Ok(PutOutcome::Foreign(message));
        }
        let accepted: Option<String> = sqlx::query_scalar(
            "SELECT sha256 FROM measurements WHERE trial_id = $1 AND attempt_id = $2 AND epoch = $3 AND accepted = 1",
        )
        .bind(measurement.trial.to_string())
        .bind(attempt.id.to_string())
        .bind(i64::from(measurement.epoch))
        .fetch_optional(&mut *self.tx)
        .await?;
        let outcome = match accepted {
            Some(held) if held == sha256 => return Ok(PutOutcome::Same),
            // What has ended does not move any more: its phase and its results were told to people.
            _ if over && delivery != Delivery::Import => return Ok(PutOutcome::Fenced),
            Some(_) => PutOutcome::Differs,
            None => PutOutcome::Accepted,
        };
        insert(self, attempt, measurement, &spec, outcome == PutOutcome::Accepted, &sha256, body).await?;
        if outcome == PutOutcome::Accepted {
            announce(self, attempt, measurement).await?;
            self.outdate(attempt.experiment).await?;
            self.wake = true;
        }
        Ok(outcome)
    }

    /// What the attempt's shard holds, and the spec of its experiment; whether that has ended.
    async fn plan_of(&mut self, attempt: &Attempt) -> Result<(Vec<Block>, Spec, bool)> {
        let row = sqlx::query(
            "SELECT s.blocks, e.spec, e.phase FROM shards s JOIN experiments e ON e.uid = s.experiment_uid WHERE s.id = $1",
        )
        .bind(attempt.shard.to_string())
        .fetch_one(&mut *self.tx)
        .await?;
        let phase: Phase = row.word("phase")?;
        Ok((row.read_json("blocks")?, row.read_json("spec")?, phase.ended()))
    }

    /// A standing that was computed without this measurement is refused, and computed anew.
    async fn outdate(&mut self, uid: ExperimentUid) -> Result<()> {
        sqlx::query("UPDATE experiments SET revision = revision + 1 WHERE uid = $1")
            .bind(uid.to_string())
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }
}
