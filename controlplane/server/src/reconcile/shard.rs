//! What a shard needs next: nothing, a job now or later, or giving up. Retries and continuations are counted from the attempts'
//! ends, so they cannot be counted twice.

use em_api::{Timestamp, TrialId};
use jiff::SignedDuration;

use super::world::{Knobs, View, after};
use crate::admit::expand::{Block, Shard};
use crate::store::attempts::{Attempt, End, EndKind};
use crate::store::counted::{Counted, OutcomeKind, count};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Next {
    /// Every block is finished.
    Finished,
    /// An attempt is open.
    Open,
    Start {
        number: u32,
        not_before: Timestamp,
    },
    GivenUp(End),
}

pub(super) fn next(view: &View, shard: &Shard, knobs: &Knobs) -> Next {
    let attempts: Vec<&Attempt> = view.open.attempts.iter().filter(|attempt| attempt.shard == shard.id).collect();
    if attempts.iter().any(|attempt| !attempt.ended()) {
        return Next::Open;
    }
    if unfinished(view, shard).is_empty() {
        return Next::Finished;
    }
    let number = u32::try_from(attempts.len()).unwrap_or(u32::MAX).saturating_add(1);
    let Some((end, ended_at)) = attempts.last().and_then(|attempt| attempt.end()) else {
        return Next::Start { number: 1, not_before: view.open.stored.created_at };
    };
    let pause = |failures: u32| {
        let doubled = knobs.backoff.saturating_mul(1_i32.checked_shl(failures.saturating_sub(1).min(20)).unwrap_or(i32::MAX));
        after(ended_at, doubled.min(SignedDuration::from_mins(10)))
    };
    let spec = &view.open.stored.spec;
    match end.kind {
        EndKind::Closed => Next::GivenUp(end.clone()),
        // Paused by the user and wanted again.
        EndKind::Cancelled => Next::Start { number, not_before: ended_at },
        // Finished for its job, but not by today's rules (retryTrials): as a retry.
        EndKind::Retry | EndKind::Completed => {
            let spent = ends_of_kind(&attempts, EndKind::Retry);
            if spent > spec.retries {
                let message = format!("{} (after {spent} failed jobs; spec.retries is {})", end.message, spec.retries);
                return Next::GivenUp(End { kind: EndKind::Closed, message, ..end.clone() });
            }
            Next::Start { number, not_before: pause(spent) }
        }
        EndKind::Continuation => {
            let spent = ends_of_kind(&attempts, EndKind::Continuation);
            if spent > spec.max_continuations {
                let message =
                    format!("{} (after {spent} continuations; spec.maxContinuations is {})", end.message, spec.max_continuations);
                return Next::GivenUp(End { kind: EndKind::Closed, message, ..end.clone() });
            }
            let fruitless = attempts.iter().rev().take_while(|attempt| last_words(view, attempt) == 0).count();
            let fruitless = u32::try_from(fruitless).unwrap_or(u32::MAX);
            Next::Start { number, not_before: pause(fruitless.max(1)) }
        }
    }
}

/// Where the experiment's jobs have to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Anywhere,
    /// `slurm.sameNode`, and a job has a node.
    On(String),
    /// `slurm.sameNode`, and no job has one yet.
    Undecided,
}

/// The node of the first job that had one is everybody's, later attempts included.
pub(super) fn place(view: &View) -> Place {
    if !view.open.stored.spec.slurm.same_node {
        return Place::Anywhere;
    }
    let mut attempts: Vec<&Attempt> = view.open.attempts.iter().collect();
    attempts.sort_by_key(|attempt| attempt.id);
    let one_node = |attempt: &&Attempt| attempt.job()?.node.clone().filter(|node| !node.contains(['[', ',']));
    attempts.iter().find_map(one_node).map_or(Place::Undecided, Place::On)
}

fn ends_of_kind(attempts: &[&Attempt], kind: EndKind) -> u32 {
    let found = attempts.iter().filter(|attempt| attempt.end().is_some_and(|(end, _)| end.kind == kind)).count();
    u32::try_from(found).unwrap_or(u32::MAX)
}

/// The blocks that a job of this shard has to execute, whole.
pub(super) fn unfinished(view: &View, shard: &Shard) -> Vec<Block> {
    let again = retries_trials(view, shard);
    let open = |block: &&Block| {
        let counted = counted(view, block);
        !counted.finished || (again && counted.failed)
    };
    shard.blocks.iter().filter(open).cloned().collect()
}

/// Everything is measured but for trials that failed by their own fault and are wanted again.
pub(super) fn only_failed_trials_left(view: &View, shard: &Shard) -> bool {
    unfinished(view, shard).iter().all(|block| counted(view, block).finished)
}

fn retries_trials(view: &View, shard: &Shard) -> bool {
    let spec = &view.open.stored.spec;
    let attempts: Vec<&Attempt> = view.open.attempts.iter().filter(|attempt| attempt.shard == shard.id).collect();
    spec.retry_trials && ends_of_kind(&attempts, EndKind::Retry) < spec.retries
}

pub(super) fn counted(view: &View, block: &Block) -> Counted {
    let trials: Vec<TrialId> = block.trials.iter().map(|(_, trial)| *trial).collect();
    count(&trials, &view.open.handed, view.open.stored.spec.retry_trials)
}

/// How many trials an attempt brought to an end of their own.
pub(super) fn last_words(view: &View, attempt: &Attempt) -> usize {
    view.open.handed.iter().filter(|one| one.attempt == attempt.id && one.outcome.last_word()).count()
}

/// Whether every trial of the experiment was measured.
pub(super) fn all_measured(view: &View) -> bool {
    view.open.shards.iter().flat_map(|shard| &shard.blocks).all(|block| {
        let counted = counted(view, block);
        block.trials.iter().all(|(_, trial)| {
            counted.by_trial.get(trial).is_some_and(|&index| view.open.handed[index].outcome == OutcomeKind::Measured)
        })
    })
}
