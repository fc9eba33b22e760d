//! The matrix as stored, and the state of each trial, computed from what was handed in: never stored twice.

use std::collections::HashMap;

use em_api::measurement::{Measurement, Outcome};
use em_api::results::Verdict;
use em_api::spec::LoadLevel;
use em_api::status::{Phase, Trial, TrialCounts, TrialPhase};
use em_api::{AttemptId, BlockId, ExperimentUid, ShardId, TrialId};

use super::attempts::Attempt;
use super::codec::{Columns, corrupt};
use super::counted::{self, Handed, OutcomeKind};
use super::experiments::Stored;
use super::parts::Parts;
use super::{Result, Store};
use crate::admit::expand::Shard;

/// A trial with its place in the matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct TrialRow {
    pub id: TrialId,
    pub block: BlockId,
    pub shard: ShardId,
    pub backend: String,
    pub repetition: u32,
    pub batch_size: u32,
    pub load: LoadLevel,
}

/// A trial's state, and which of the handed-in measurements counts for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrialState {
    pub phase: TrialPhase,
    pub handed: Option<usize>,
}

/// The state of each row, in their order.
pub fn states(rows: &[TrialRow], handed: &[Handed], attempts: &[Attempt], phase: Phase, retry_trials: bool) -> Vec<TrialState> {
    let mut blocks: HashMap<BlockId, Vec<TrialId>> = HashMap::new();
    for row in rows {
        blocks.entry(row.block).or_default().push(row.id);
    }
    let mut counts: HashMap<TrialId, usize> = HashMap::new();
    let mut by_block: HashMap<BlockId, Vec<usize>> = HashMap::new();
    for (index, one) in handed.iter().enumerate() {
        by_block.entry(one.block).or_default().push(index);
    }
    for (block, indices) in by_block {
        let Some(trials) = blocks.get(&block) else { continue };
        let here: Vec<Handed> = indices.iter().map(|&index| handed[index].clone()).collect();
        counts
            .extend(counted::count(trials, &here, retry_trials).by_trial.into_iter().map(|(trial, index)| (trial, indices[index])));
    }
    let running: Vec<TrialId> =
        attempts.iter().filter(|attempt| !attempt.ended()).filter_map(|attempt| attempt.live.as_ref()?.trial).collect();
    rows.iter()
        .map(|row| {
            let index = counts.get(&row.id).copied();
            let phase = match index.map(|index| handed[index].outcome) {
                Some(OutcomeKind::Measured) => TrialPhase::Succeeded,
                Some(OutcomeKind::Failed) => TrialPhase::Failed,
                _ if running.contains(&row.id) && !phase.ended() => TrialPhase::Running,
                Some(OutcomeKind::Interrupted) => TrialPhase::Interrupted,
                None if phase == Phase::Failed => TrialPhase::Failed,
                None => TrialPhase::Pending,
            };
            TrialState { phase, handed: index }
        })
        .collect()
}

pub fn tally(states: &[TrialState], handed: &[Handed]) -> TrialCounts {
    let mut counts = TrialCounts { total: states.len() as u64, ..TrialCounts::default() };
    for state in states {
        let slot = match state.phase {
            TrialPhase::Pending => &mut counts.pending,
            TrialPhase::Running => &mut counts.running,
            TrialPhase::Succeeded => &mut counts.succeeded,
            TrialPhase::Failed => &mut counts.failed,
            TrialPhase::Interrupted => &mut counts.interrupted,
        };
        *slot += 1;
        match state.handed.and_then(|index| handed[index].verdict) {
            Some(Verdict::Invalid) => counts.invalid += 1,
            Some(Verdict::Inconclusive) => counts.inconclusive += 1,
            Some(Verdict::Valid) | None => {}
        }
    }
    counts
}

impl Store {
    /// The matrix in its stored order.
    pub async fn matrix(&self, uid: ExperimentUid) -> Result<Vec<TrialRow>> {
        Ok(rows(&self.parts(uid).await?.shards))
    }

    /// `GET …/trials`.
    pub async fn trials(&self, stored: &Stored) -> Result<Vec<Trial>> {
        let (uid, phase) = (stored.uid, stored.phase);
        let Parts { shards, attempts, handed } = self.parts(uid).await?;
        let rows = rows(&shards);
        let details = self.details(uid).await?;
        let given_up = attempts.iter().rev().find_map(|attempt| attempt.end().map(|(end, _)| end.clone()));
        let states = states(&rows, &handed, &attempts, phase, stored.spec.retry_trials);
        Ok(rows
            .into_iter()
            .zip(states)
            .map(|(row, state)| {
                let one = state.handed.map(|index| &handed[index]);
                let detail = one.and_then(|one| details.get(&(one.trial, one.attempt, one.epoch)));
                let failure = detail.and_then(|detail| detail.failure.as_ref());
                let (reason, message, log_tail) = match (failure, state.phase, &given_up) {
                    (Some((message, log_tail)), _, _) => {
                        (one.and_then(|one| one.reason.clone()), Some(message.clone()), log_tail.clone())
                    }
                    (None, TrialPhase::Failed, Some(end)) => (Some(end.reason.clone()), Some(end.message.clone()), None),
                    _ => (one.and_then(|one| one.reason.clone()), None, None),
                };
                Trial {
                    id: row.id,
                    block: row.block,
                    backend: row.backend,
                    batch_size: row.batch_size,
                    load: row.load,
                    repetition: row.repetition,
                    phase: state.phase,
                    attempt: one.map(|one| one.attempt),
                    epoch: one.map(|one| one.epoch),
                    reason,
                    message,
                    log_tail,
                    verdict: one.and_then(|one| one.verdict),
                    texts_per_second: detail.and_then(|detail| detail.texts_per_second),
                    started_at: one.map(|one| one.started_at),
                    finished_at: one.map(|one| one.finished_at),
                }
            })
            .collect())
    }

    /// What only those read who look at single trials, by (trial, attempt, epoch).
    async fn details(&self, uid: ExperimentUid) -> Result<HashMap<(TrialId, AttemptId, u32), Detail>> {
        let rows = sqlx::query(
            "SELECT trial_id, attempt_id, epoch, texts_per_second, CASE WHEN outcome <> 'measured' THEN body END AS not_measured
             FROM measurements WHERE experiment_uid = $1 AND accepted = 1",
        )
        .bind(uid.to_string())
        .fetch_all(&self.pool)
        .await?;
        let mut details = HashMap::with_capacity(rows.len());
        for row in &rows {
            let body = row.opt_text("not_measured")?;
            let body: Option<Measurement> =
                body.map(|body| serde_json::from_str(&body).map_err(|source| corrupt("body", source))).transpose()?;
            let failure = match body.map(|body| body.outcome) {
                Some(Outcome::Failed { message, log_tail, .. }) => Some((message, Some(log_tail))),
                Some(Outcome::Interrupted { message }) => Some((message, None)),
                Some(Outcome::Measured { .. }) | None => None,
            };
            let key = (row.parsed("trial_id")?, row.parsed("attempt_id")?, row.count("epoch")?);
            details.insert(key, Detail { texts_per_second: row.opt_float("texts_per_second")?, failure });
        }
        Ok(details)
    }
}

struct Detail {
    texts_per_second: Option<f64>,
    /// Message and log tail of what was not measured.
    failure: Option<(String, Option<String>)>,
}

/// What admission expanded, trial by trial.
pub fn rows(shards: &[Shard]) -> Vec<TrialRow> {
    let mut rows = Vec::new();
    for shard in shards {
        for block in &shard.blocks {
            rows.extend(block.trials.iter().map(|(backend, trial)| TrialRow {
                id: *trial,
                block: block.id,
                shard: shard.id,
                backend: backend.clone(),
                repetition: block.repetition,
                batch_size: block.batch_size,
                load: block.load,
            }));
        }
    }
    rows
}
