//! Which measurements count. A block is finished when one run (an epoch of an attempt) measured all of it; a block never mixes
//! two runs while one run has it whole, because backends are compared inside a run. Pure.

use std::collections::HashMap;

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
    pub texts_per_second: Option<f64>,
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
    /// Measured or failed by its own fault: nothing more comes of it in this run.
    pub fn last_word(self) -> bool {
        self != Self::Interrupted
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counted {
    /// One run has the last word on every trial of the block.
    pub finished: bool,
    /// Some of the counted trials failed by their own fault.
    pub failed: bool,
    /// Index into `handed` of what counts for each trial that has anything.
    pub by_trial: HashMap<TrialId, usize>,
}

/// What counts for one block with these trials. The run that measured most wins, then the one with more last words, then the
/// first: a complete run is never displaced by a later one, so a finished trial does not move again.
pub fn count(trials: &[TrialId], handed: &[Handed]) -> Counted {
    let mut runs: HashMap<(AttemptId, u32), Vec<usize>> = HashMap::new();
    for (index, one) in handed.iter().enumerate().filter(|(_, one)| trials.contains(&one.trial)) {
        runs.entry((one.attempt, one.epoch)).or_default().push(index);
    }
    let tally = |run: &[usize], which: fn(OutcomeKind) -> bool| run.iter().filter(|&&index| which(handed[index].outcome)).count();
    let measured = |run: &[usize]| tally(run, |outcome| outcome == OutcomeKind::Measured);
    let last_words = |run: &[usize]| tally(run, OutcomeKind::last_word);
    let first = |run: &[usize]| run.iter().map(|&index| handed[index].received_at).min();
    let best = runs
        .values()
        .max_by(|a, b| (measured(a), last_words(a)).cmp(&(measured(b), last_words(b))).then_with(|| first(b).cmp(&first(a))));
    let Some(best) = best else { return Counted::default() };
    let mut by_trial: HashMap<TrialId, usize> = best.iter().map(|&index| (handed[index].trial, index)).collect();
    // What the best run lacks is shown from wherever it was measured; results pair only within a run.
    for (index, one) in handed.iter().enumerate().filter(|(_, one)| trials.contains(&one.trial)) {
        let held = by_trial.entry(one.trial).or_insert(index);
        if handed[*held].outcome < one.outcome && !handed[*held].outcome.last_word() {
            *held = index;
        }
    }
    let failed = by_trial.values().any(|&index| handed[index].outcome == OutcomeKind::Failed);
    Counted { finished: last_words(best) == trials.len(), failed, by_trial }
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
            texts_per_second: None,
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
        let counted = count(&[a, b], &all);
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
        let counted = count(&[a, b], &all);
        assert!(counted.finished && counted.by_trial[&a] == 1 && counted.by_trial[&b] == 2);
        all.push(handed(a, third, 0, OutcomeKind::Measured, 5));
        all.push(handed(b, third, 0, OutcomeKind::Measured, 6));
        assert_eq!(count(&[a, b], &all).by_trial[&a], 1, "a finished trial does not move again");
    }

    #[test]
    fn a_trial_that_failed_by_its_own_fault_finishes_its_block() {
        let (a, b) = (TrialId::generate(), TrialId::generate());
        let run = AttemptId::generate();
        let all = [handed(a, run, 0, OutcomeKind::Measured, 1), handed(b, run, 0, OutcomeKind::Failed, 2)];
        let counted = count(&[a, b], &all);
        assert!(counted.finished && counted.failed);
    }
}
