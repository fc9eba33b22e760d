//! An experiment as users see it: its own row, with counts, jobs and the live view computed from the rows below it.

use em_api::Timestamp;
use em_api::experiment::Experiment;
use em_api::status::{Job, Live, Status, TrialCounts};

use super::attempts::{Attempt, AttemptState};
use super::counted::Handed;
use super::experiments::Stored;
use super::parts::Parts;
use super::trials::{TrialRow, TrialState, rows, states, tally};
use super::{Result, Store, now};

impl Store {
    /// Completes a row.
    pub async fn complete(&self, stored: Stored) -> Result<Experiment> {
        let parts = self.parts(stored.uid).await?;
        Ok(completed(stored, parts))
    }

    /// Completes rows of a list, with as many queries as for one. Of those that have ended only the jobs are read.
    pub async fn complete_all(&self, stored: Vec<Stored>) -> Result<Vec<Experiment>> {
        let of = |counted: bool| {
            let chosen = stored.iter().filter(move |stored| stored.trials.is_some() == counted);
            chosen.map(|stored| stored.uid).collect::<Vec<_>>()
        };
        let mut parts = self.parts_of(&of(false)).await?;
        let mut jobs = self.jobs_of(&of(true)).await?;
        stored
            .into_iter()
            .map(|stored| match stored.trials {
                Some(trials) => {
                    let attempts = jobs.take(stored.uid)?.attempts;
                    Ok(with(stored, trials, &attempts, None))
                }
                None => {
                    let parts = parts.take(stored.uid)?;
                    Ok(completed(stored, parts))
                }
            })
            .collect()
    }
}

fn completed(stored: Stored, Parts { shards, attempts, handed }: Parts) -> Experiment {
    let rows = rows(&shards);
    let states = states(&rows, &handed, &attempts, stored.phase, stored.spec.retry_trials);
    let live = live(&stored, &attempts, &rows, &states, &handed);
    with(stored, tally(&states, &handed), &attempts, live)
}

fn with(stored: Stored, trials: TrialCounts, attempts: &[Attempt], live: Option<Live>) -> Experiment {
    let status = Status {
        phase: stored.phase,
        observed_generation: stored.observed_generation,
        message: stored.message.clone(),
        conditions: stored.conditions.clone(),
        trials,
        jobs: attempts.iter().map(job).collect(),
        live,
        estimated_seconds: Some(stored.estimated_seconds),
        started_at: stored.started_at,
        finished_at: stored.finished_at,
    };
    stored.with_status(status)
}

/// One attempt as users see it: a job.
pub fn job(attempt: &Attempt) -> Job {
    let job = attempt.job();
    let claim = attempt.claim.as_ref();
    let (state, reason, over, finished_at) = match &attempt.state {
        AttemptState::Intended { .. } | AttemptState::Submitting { .. } => ("SUBMITTING".to_owned(), None, None, None),
        AttemptState::Submitted(submitted) => {
            // A claim is newer news than the listing before it.
            let requeued = claim.is_some_and(|claim| submitted.job.restarts.is_some_and(|restarts| restarts > claim.restart_count));
            let word = match (&submitted.job.state, claim) {
                (Some(word), Some(_)) if word == "PENDING" && !requeued => "RUNNING".to_owned(),
                (Some(word), _) => word.clone(),
                (None, Some(_)) => "RUNNING".to_owned(),
                (None, None) => "PENDING".to_owned(),
            };
            (word, submitted.job.reason.clone(), submitted.over.as_ref(), submitted.over.as_ref().map(|over| over.at))
        }
        AttemptState::Ended { at, end, job, over } => {
            let word = job.as_ref().and_then(|job| job.state.clone()).unwrap_or_else(|| "ENDED".to_owned());
            (word, Some(format!("{}: {}", end.reason, end.message)), over.as_ref(), Some(over.as_ref().map_or(*at, |over| over.at)))
        }
    };
    Job {
        id: job.map(|job| job.id.clone()),
        name: attempt.job_name.clone(),
        cluster: job.and_then(|job| job.cluster.clone()),
        node: claim.map(|claim| claim.node.clone()).or_else(|| job.and_then(|job| job.node.clone())),
        state,
        attempt_id: attempt.id,
        attempt: attempt.number,
        epoch: claim.map_or(0, |claim| claim.epoch),
        reason,
        expected_start: job.and_then(|job| job.expected_start).filter(|_| claim.is_none()),
        submitted_at: job.and_then(|job| job.submitted_at),
        started_at: job.and_then(|job| job.started_at).or_else(|| claim.map(|claim| claim.at)),
        finished_at,
        exit_code: over.and_then(|over| over.exit_code),
    }
}

fn live(stored: &Stored, attempts: &[Attempt], rows: &[TrialRow], states: &[TrialState], handed: &[Handed]) -> Option<Live> {
    if stored.phase.ended() {
        return None;
    }
    let running = attempts.iter().filter(|attempt| !attempt.ended()).filter_map(|attempt| attempt.live.as_ref());
    let mut live = running.max_by_key(|live| live.at)?.clone();
    if let Some(row) = live.trial.and_then(|trial| rows.iter().find(|row| row.id == trial)) {
        live.batch_size = Some(row.batch_size);
        live.backend.get_or_insert_with(|| row.backend.clone());
    }
    live.seconds_left = seconds_left(stored, attempts, states, handed, now());
    Some(live)
}

/// What is left of the plan: at the pace seen so far once it can be told (from a tenth of the trials on), else as estimated. Counts
/// down between two ends of trials.
fn seconds_left(stored: &Stored, attempts: &[Attempt], states: &[TrialState], handed: &[Handed], at: Timestamp) -> Option<u64> {
    // The reconciler stores the start a moment after the first claim.
    let first_claim = attempts.iter().filter_map(|attempt| attempt.claim.as_ref()).map(|claim| claim.at).min();
    let started_at = stored.started_at.or(first_claim)?;
    let ends: Vec<Timestamp> = states.iter().filter_map(|state| Some(handed[state.handed?].finished_at)).collect();
    let (total, done) = (states.len() as f64, ends.len() as f64);
    let whole = match ends.iter().max() {
        Some(last) if done >= (total / 10.0).max(2.0) => last.duration_since(started_at).as_secs_f64() / done * total,
        _ => stored.estimated_seconds as f64,
    };
    // The clock may have been set back.
    let elapsed = at.duration_since(started_at).as_secs_f64().max(0.0);
    Some((whole - elapsed).max(0.0).round() as u64)
}
