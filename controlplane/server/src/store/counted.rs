//! Which measurements count. A block is finished when one run (an epoch of an attempt) measured all of it; a block never mixes
//! two runs while one run has it whole, because backends are compared inside a run. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use em_api::measurement::Outcome;
use em_api::results::Verdict;
use em_api::{AttemptId, BlockId, Timestamp, TrialId};
use serde::{Deserialize, Serialize};

/// An accepted measurement, without its body.
#[derive(Clone, Debug, PartialEq)]
pub struct Handed {
    pub trial: TrialId,
    pub block: BlockId,
    pub attempt: AttemptId,
    pub epoch: u32,
    pub outcome: OutcomeKind,
    pub reason: Option<String>,
    pub verdict: Option<Verdict>,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    pub received_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutcomeKind {
    Interrupted,
    Failed,
    Measured,
}

impl OutcomeKind {
    pub fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Measured { .. } => Self::Measured,
            Outcome::Failed { .. } => Self::Failed,
            Outcome::Interrupted { .. } => Self::Interrupted,
        }
    }

    /// Measured or failed by its own fault: nothing more comes of it in this run.
    pub fn last_word(self) -> bool {
        self != Self::Interrupted
    }
}

/// One run of a block: an epoch of an attempt.
pub type Run = (AttemptId, u32);

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counted {
    /// One run has the last word on every trial of the block.
    pub finished: bool,
    /// Some of the counted trials failed by their own fault.
    pub failed: bool,
    /// The run that the block is taken from.
    pub run: Option<Run>,
    /// Index of what counts for each trial that has anything. What the run lacks is taken from wherever it was measured; only
    /// trials of the run may be paired.
    pub by_trial: HashMap<TrialId, usize>,
}

/// What counts for one block with these trials; `handed` in the order in which it came.
pub fn count(trials: &[TrialId], handed: &[Handed], retry_trials: bool) -> Counted {
    let here = handed.iter().enumerate().filter(|(_, one)| trials.contains(&one.trial));
    choose(trials.len(), here.map(|(index, one)| (index, one.trial, (one.attempt, one.epoch), one.outcome)), retry_trials)
}

#[derive(Default)]
struct Tally {
    measured: usize,
    last_words: usize,
    /// Place in the order of arrival of the first piece, and of the one that made the run whole.
    first: usize,
    whole_at: Option<usize>,
}

/// The rule: the run that was whole first counts, so a finished trial does not move again, whatever is measured later. With
/// `retry_trials` a whole run that measured more displaces one with failed trials. While none is whole, the one that measured most is
/// shown, then the one with more last words, then the first. `size`: trials of the block; pieces: (index, trial, run, outcome) in
/// their order of arrival.
pub fn choose(size: usize, pieces: impl Iterator<Item = (usize, TrialId, Run, OutcomeKind)>, retry_trials: bool) -> Counted {
    let pieces: Vec<_> = pieces.collect();
    let mut runs: BTreeMap<Run, Tally> = BTreeMap::new();
    for (place, (_, _, run, outcome)) in pieces.iter().enumerate() {
        let tally = runs.entry(*run).or_insert_with(|| Tally { first: place, ..Tally::default() });
        tally.measured += usize::from(*outcome == OutcomeKind::Measured);
        tally.last_words += usize::from(outcome.last_word());
        if tally.last_words == size && tally.whole_at.is_none() {
            tally.whole_at = Some(place);
        }
    }
    let rank = |tally: &Tally| match tally.whole_at {
        Some(at) => (true, if retry_trials { tally.measured } else { 0 }, 0, Reverse(at)),
        None => (false, tally.measured, tally.last_words, Reverse(tally.first)),
    };
    let Some((run, best)) = runs.iter().max_by_key(|(_, tally)| rank(tally)) else { return Counted::default() };
    let mut by_trial: HashMap<TrialId, (usize, OutcomeKind, bool)> = HashMap::new();
    for (index, trial, of, outcome) in pieces {
        let (held_index, held, held_chosen) = by_trial.entry(trial).or_insert((index, outcome, of == *run));
        // The run's own words stand; one that it was interrupted in gives way to a last word.
        let better = if held.last_word() { of == *run && !*held_chosen && outcome.last_word() } else { *held < outcome };
        if better {
            (*held_index, *held, *held_chosen) = (index, outcome, of == *run);
        }
    }
    let failed = by_trial.values().any(|(_, outcome, _)| *outcome == OutcomeKind::Failed);
    let by_trial = by_trial.into_iter().map(|(trial, (index, ..))| (trial, index)).collect();
    Counted { finished: best.whole_at.is_some(), failed, run: Some(*run), by_trial }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handed(trial: TrialId, attempt: AttemptId, epoch: u32, outcome: OutcomeKind, second: i64) -> Handed {
        let received_at = Timestamp::from_second(second).expect("small");
        Handed {
            trial,
            block: BlockId::generate(),
            attempt,
            epoch,
            outcome,
            reason: None,
            verdict: None,
            started_at: received_at,
            finished_at: received_at,
            received_at,
        }
    }

    #[test]
    fn a_block_measured_over_two_runs_is_not_finished() {
        let (a, b) = (TrialId::generate(), TrialId::generate());
        let (first, second) = (AttemptId::generate(), AttemptId::generate());
        let all = [
            handed(a, first, 0, OutcomeKind::Measured, 1),
            handed(b, first, 0, OutcomeKind::Interrupted, 2),
            handed(b, second, 0, OutcomeKind::Measured, 3),
        ];
        let counted = count(&[a, b], &all, false);
        assert!(!counted.finished);
        assert_eq!(counted.by_trial.len(), 2, "both are shown all the same");
        assert_eq!(counted.by_trial[&b], 2, "an interrupted trial is replaced by a measured one");
    }

    #[test]
    fn a_whole_later_run_displaces_a_partial_one_but_not_a_whole_one() {
        let (a, b) = (TrialId::generate(), TrialId::generate());
        let (first, second, third) = (AttemptId::generate(), AttemptId::generate(), AttemptId::generate());
        let mut all = vec![
            handed(a, first, 0, OutcomeKind::Measured, 1),
            handed(a, second, 0, OutcomeKind::Measured, 3),
            handed(b, second, 0, OutcomeKind::Measured, 4),
        ];
        let counted = count(&[a, b], &all, false);
        assert!(counted.finished && counted.by_trial[&a] == 1 && counted.by_trial[&b] == 2);
        all.push(handed(a, third, 0, OutcomeKind::Measured, 5));
        all.push(handed(b, third, 0, OutcomeKind::Measured, 6));
        assert_eq!(count(&[a, b], &all, false).by_trial[&a], 1, "a finished trial does not move again");
    }

    #[test]
    fn only_with_retries_of_trials_does_a_better_run_displace_one_with_a_failed_trial() {
        let (a, b) = (TrialId::generate(), TrialId::generate());
        let run = AttemptId::generate();
        let all = [
            handed(a, run, 0, OutcomeKind::Measured, 1),
            handed(b, run, 0, OutcomeKind::Failed, 2),
            handed(a, run, 1, OutcomeKind::Measured, 3),
            handed(b, run, 1, OutcomeKind::Measured, 4),
        ];
        assert_eq!(count(&[a, b], &all, false).run, Some((run, 0)), "a finished trial does not move again");
        assert_eq!(count(&[a, b], &all, true).run, Some((run, 1)));
    }

    #[test]
    fn a_trial_that_failed_by_its_own_fault_finishes_its_block() {
        let (a, b) = (TrialId::generate(), TrialId::generate());
        let run = AttemptId::generate();
        let all = [handed(a, run, 0, OutcomeKind::Measured, 1), handed(b, run, 0, OutcomeKind::Failed, 2)];
        let counted = count(&[a, b], &all, false);
        assert!(counted.finished && counted.failed);
    }
}
