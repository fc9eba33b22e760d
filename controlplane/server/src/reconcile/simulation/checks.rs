//! The promises, held against the truth that only the simulation knows.

use std::collections::{BTreeMap, HashMap, HashSet};

use em_api::spec::Desired;
use em_api::status::Phase;
use em_api::{AttemptId, ExperimentUid, Timestamp, TrialId};

use super::slurm::Truth;
use super::stage::Stage;
use crate::store::attempts::{Attempt, AttemptState, CancelWhy, EndKind, JobOutcome};
use crate::store::counted::{OutcomeKind, count};
use crate::store::world::Open;

#[derive(Debug, Default)]
pub(super) struct Checks {
    pub(super) calm_since: Option<Timestamp>,
    /// Which run's measurement counts for each trial of a finished block.
    finished: HashMap<TrialId, (AttemptId, u32, OutcomeKind)>,
    ended: HashMap<ExperimentUid, Phase>,
    judged: HashSet<AttemptId>,
    cancels_seen: usize,
}

impl Stage {
    /// After the server did something.
    pub(super) async fn check(&mut self) {
        let open = self.store.open_experiments().await.expect("the database");
        let mut broken = Vec::new();
        for one in &open {
            self.finished_trials_rest(one, &mut broken);
            self.ended_rests(one, &mut broken);
            for attempt in &one.attempts {
                self.an_end_is_true(attempt, &mut broken);
                self.the_end_is_judged(one, attempt, &mut broken);
            }
            let spent = |kind| one.attempts.iter().filter(|attempt| attempt.end().is_some_and(|(end, _)| end.kind == kind)).count();
            let (shards, spec) = (one.shards.len(), &one.stored.spec);
            if spent(EndKind::Retry) > shards * (spec.retries as usize + 1) {
                broken.push(format!("{} spent more retries than it has", one.stored.name));
            }
            if spent(EndKind::Continuation) > shards * (spec.max_continuations as usize + 1) {
                broken.push(format!("{} spent more continuations than it has", one.stored.name));
            }
        }
        self.cancels_are_just(&open, &mut broken);
        broken.into_iter().for_each(|promise| self.broken(promise));
    }

    /// A block comes from one run, and what counts once counts for ever.
    fn finished_trials_rest(&mut self, one: &Open, broken: &mut Vec<String>) {
        for block in one.shards.iter().flat_map(|shard| &shard.blocks) {
            let trials: Vec<TrialId> = block.trials.iter().map(|(_, trial)| *trial).collect();
            let counted = count(&trials, &one.handed, one.stored.spec.retry_trials);
            if !counted.finished {
                if trials.iter().any(|trial| self.checks.finished.contains_key(trial)) {
                    broken.push(format!("a finished block of {} is unfinished", one.stored.name));
                }
                continue;
            }
            let runs: HashSet<(AttemptId, u32)> =
                counted.by_trial.values().map(|index| (one.handed[*index].attempt, one.handed[*index].epoch)).collect();
            if runs.len() > 1 {
                broken.push(format!("a block of {} spans the runs {runs:?}", one.stored.name));
            }
            for (trial, index) in counted.by_trial {
                let handed = &one.handed[index];
                let counts = (handed.attempt, handed.epoch, handed.outcome);
                let held = *self.checks.finished.entry(trial).or_insert(counts);
                if held != counts {
                    broken.push(format!("finished trial {trial} moved from {held:?} to {counts:?}"));
                }
            }
        }
    }

    fn ended_rests(&mut self, one: &Open, broken: &mut Vec<String>) {
        let (uid, phase) = (one.stored.uid, one.stored.phase);
        if let Some(held) = self.checks.ended.get(&uid)
            && *held != phase
        {
            broken.push(format!("{} had ended as {} and is {}", one.stored.name, held.as_str(), phase.as_str()));
        }
        if phase.ended() {
            self.checks.ended.insert(uid, phase);
        }
    }

    /// A job that we call over is over, in truth.
    fn an_end_is_true(&self, attempt: &Attempt, broken: &mut Vec<String>) {
        let over = match &attempt.state {
            AttemptState::Submitted(submitted) => submitted.over.is_some(),
            AttemptState::Ended { .. } => true,
            _ => false,
        };
        let Some(job) = attempt.job().filter(|_| over) else { return };
        let slurm = self.slurm.state();
        // Ids are reused: only the name makes it ours.
        let truth = slurm.jobs.iter().rfind(|known| known.id == job.id && known.name == attempt.job_name);
        if let Some(truth) = truth.filter(|truth| truth.live()) {
            broken.push(format!("job {} is taken for over and is {:?}", truth.id, truth.truth));
        }
    }

    /// What an end costs follows from what truly happened.
    fn the_end_is_judged(&mut self, one: &Open, attempt: &Attempt, broken: &mut Vec<String>) {
        let AttemptState::Ended { end, job: Some(job), over: Some(over), .. } = &attempt.state else { return };
        if !self.checks.judged.insert(attempt.id) {
            return;
        }
        let slurm = self.slurm.state();
        let Some(truth) = slurm.jobs.iter().rfind(|known| known.id == job.id && known.name == attempt.job_name) else { return };
        let outside = matches!(truth.truth, Truth::Ended("NODE_FAIL" | "PREEMPTED" | "TIMEOUT") | Truth::Lost);
        // A witness is the script's own word; it beats what the controller has forgotten.
        if outside && end.kind == EndKind::Retry && over.outcome != JobOutcome::Failed {
            broken.push(format!("job {} was {:?}: that spends no retry, but {} spent one", job.id, truth.truth, one.stored.name));
        }
        if matches!(truth.truth, Truth::Ended("OUT_OF_MEMORY"))
            && end.kind == EndKind::Continuation
            && over.outcome == JobOutcome::OutOfMemory
        {
            broken.push(format!("job {} was {:?}: that spends a retry", job.id, truth.truth));
        }
    }

    /// `scancel` only for jobs of ours that nobody wants, or that are surplus; never for the one that holds the claim of wanted work.
    fn cancels_are_just(&mut self, open: &[Open], broken: &mut Vec<String>) {
        let (cancels, prefix) = (self.slurm.state().cancelled.clone(), self.store.job_prefix());
        let attempts: BTreeMap<&str, (&Open, &Attempt)> = open
            .iter()
            .flat_map(|one| one.attempts.iter().map(move |attempt| (attempt.job_name.as_str(), (one, attempt))))
            .collect();
        for (id, name) in &cancels[self.checks.cancels_seen..] {
            if !name.starts_with(&prefix) {
                broken.push(format!("job {id} ({name}) of somebody else was cancelled"));
                continue;
            }
            let Some((one, attempt)) = attempts.get(name.as_str()) else { continue };
            let holder = self.grants.get(&attempt.id).and_then(|grants| grants.last()).is_some_and(|held| held.job_id == *id);
            let wish = self.users.wishes.get(&one.stored.name);
            let wanted = wish.is_some_and(|wish| !wish.deleted && wish.always_run);
            let never_starts = matches!(&attempt.state, AttemptState::Submitted(state) if state.cancel.as_ref().is_some_and(|cancel| cancel.why == CancelWhy::NeverStarts))
                || attempt.end().is_some_and(|(end, _)| end.reason == "NeverStarts");
            if holder && wanted && !attempt.ended() && !never_starts {
                broken.push(format!("job {id} holds the claim of {name}, its work is wanted, and it was cancelled"));
            }
        }
        self.checks.cancels_seen = cancels.len();
    }

    /// All is at rest: what was acknowledged is there, what is shown is true, nothing of ours is left in Slurm.
    pub(super) async fn at_the_end(&mut self) {
        self.check().await;
        let wishes = self.users.wishes.clone();
        for (name, wish) in wishes {
            match self.store.experiment(&name).await {
                Ok(experiment) => {
                    if wish.deleted {
                        self.broken(format!("{name} was deleted and is still there"));
                    }
                    let counts = &experiment.status.trials;
                    let phase = experiment.status.phase;
                    let stored = self.store.stored(&name).await.expect("just read");
                    let listed = self.store.complete_all(vec![stored]).await.expect("just read").remove(0).status.trials;
                    if listed != *counts {
                        self.broken(format!("{name} is listed with {listed:?} and has {counts:?}"));
                    }
                    if (phase == Phase::Succeeded) != (counts.succeeded + counts.invalid + counts.inconclusive == counts.total)
                        && phase != Phase::Cancelled
                        && phase != Phase::Suspended
                    {
                        self.broken(format!("{name} is {} with {counts:?}", phase.as_str()));
                    }
                    match wish.desired {
                        Desired::Suspended if phase != Phase::Suspended && !phase.ended() => {
                            self.broken(format!("{name} shall pause and is {}", phase.as_str()));
                        }
                        Desired::Run if phase == Phase::Cancelled || phase == Phase::Suspended => {
                            self.broken(format!("{name} shall run and is {}", phase.as_str()));
                        }
                        _ => {}
                    }
                    if experiment.metadata.uid != wish.uid {
                        self.broken(format!("{name} is another one"));
                    }
                }
                Err(_) if wish.deleted => {}
                Err(error) => self.broken(format!("{name} was acknowledged and is lost: {error}")),
            }
        }
        let prefix = self.store.job_prefix();
        let (mut left, mut touched) = (Vec::new(), Vec::new());
        for job in &self.slurm.state().jobs {
            if job.live() && job.name.starts_with(&prefix) {
                left.push(job.id.clone());
            }
            if job.shard == "foreign" && (job.truth != Truth::Pending || job.term) {
                touched.push(job.id.clone());
            }
        }
        if !left.is_empty() {
            self.broken(format!("jobs {left:?} are left"));
        }
        if !touched.is_empty() {
            self.broken(format!("foreign jobs {touched:?} were touched"));
        }
    }
}
