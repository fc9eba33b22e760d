//! The next step of one open attempt: submit it, find it, follow it, cancel it, collect it.

use em_api::Timestamp;
use em_api::status::EventType;
use em_slurm::{JobView, PendingReason};

use super::listing::{self, Listing, Mine};
use super::world::{Action, Decisions, View, World};
use super::{ends, shard};
use crate::mutants::{Mutant, made};
use crate::store::attempts::{Attempt, AttemptState, Cancel, CancelWhy, End, EndKind, JobOutcome, Over, Submitted};
use crate::store::events::NewEvent;

pub(super) const WHO: &str = "reconciler";

/// At most one step that touches the attempt's row. Returns whether the pace of submissions held it back.
pub(super) fn step(
    world: &World,
    listing: Option<&Listing<'_>>,
    view: &View,
    attempt: &Attempt,
    submissions: &mut u32,
    decisions: &mut Decisions,
) -> bool {
    let mine = listing.map(|listing| listing.mine(attempt));
    for job in mine.iter().flat_map(|mine| &mine.surplus) {
        let (uid, id, revision) = (attempt.experiment, attempt.id, attempt.revision);
        let barred = attempt.refused_jobs.contains(&job.id);
        decisions.push(Action::CancelDuplicate { uid, attempt: id, revision, job_id: job.id.clone(), barred });
    }
    match &attempt.state {
        AttemptState::Intended { not_before } => {
            if let Some(job) = mine.as_ref().and_then(|mine| mine.kept) {
                // Given up too early: it was submitted after all.
                decisions.push(adopt(attempt, job));
            } else if view.unwanted() {
                let end = End { kind: EndKind::Cancelled, reason: "Cancelled".into(), message: "before it was submitted".into() };
                decisions.push(moved(attempt, AttemptState::Ended { at: world.now, end, job: None, over: None }, None));
            } else if nothing_left(view, attempt) {
                // The agent of the job before delivered late.
                let end = End { kind: EndKind::Completed, reason: "Completed".into(), message: "all was delivered already".into() };
                decisions.push(moved(attempt, AttemptState::Ended { at: world.now, end, job: None, over: None }, None));
            } else if !world.due(*not_before) {
                decisions.later(*not_before);
            } else if world.slurm.unreachable.is_none() {
                if *submissions == 0 {
                    return true;
                }
                *submissions -= 1;
                decisions.push(Action::Submit { uid: attempt.experiment, attempt: attempt.id, revision: attempt.revision });
            }
        }
        AttemptState::Submitting { since } => submitting(world, view, attempt, *since, mine, decisions),
        AttemptState::Submitted(submitted) => match &submitted.over {
            Some(over) => collect(world, view, attempt, submitted, over, mine, decisions),
            None => follow(world, view, attempt, submitted, mine, decisions),
        },
        AttemptState::Ended { .. } => {}
    }
    false
}

fn nothing_left(view: &View, attempt: &Attempt) -> bool {
    let shard = view.open.shards.iter().find(|shard| shard.id == attempt.shard);
    shard.is_some_and(|shard| shard::unfinished(view, shard).is_empty())
}

/// Looks for a submission whose answer was lost. Submits again only after a reachable controller knew nothing of the name, past
/// the settle time.
fn submitting(
    world: &World,
    view: &View,
    attempt: &Attempt,
    since: em_api::Timestamp,
    mine: Option<Mine<'_>>,
    decisions: &mut Decisions,
) {
    let Some(mine) = mine else { return };
    if let Some(job) = mine.kept {
        decisions.push(adopt(attempt, job));
        return;
    }
    if made(Mutant::ResubmitWithoutLookup) {
        decisions.push(moved(attempt, AttemptState::Intended { not_before: world.now }, None));
        return;
    }
    // After a crash the `sbatch` of the process before may still be at work: `passed` counts from our start.
    if !world.passed(since, world.knobs.settle, decisions) {
        return;
    }
    let Some(found) = view.sources.get(&attempt.id).and_then(|sources| sources.found.as_deref()) else { return };
    match Listing::of(found).mine(attempt).kept {
        Some(job) => decisions.push(adopt(attempt, job)),
        None => {
            let message = format!("no job named {} exists; it is submitted again", attempt.job_name);
            let event = NewEvent { kind: EventType::Warning, who: WHO.into(), reason: "SubmissionLost", message };
            decisions.push(moved(attempt, AttemptState::Intended { not_before: world.now }, Some(event)));
        }
    }
}

/// Takes a job found by name as the attempt's own. Safe to repeat.
fn adopt(attempt: &Attempt, job: &JobView) -> Action {
    let state = AttemptState::Submitted(Submitted { job: listing::seen(None, job), missing_since: None, cancel: None, over: None });
    let message = format!("found job {} by its name: its submission was not acknowledged", job.id);
    let event = Some(NewEvent::normal(WHO, "JobAdopted", message));
    Action::Move { attempt: attempt.id, revision: attempt.revision, state, event, adopted: true }
}

fn follow(world: &World, view: &View, attempt: &Attempt, submitted: &Submitted, mine: Option<Mine<'_>>, decisions: &mut Decisions) {
    let Some(mine) = mine else { return };
    let found = view.sources.get(&attempt.id).and_then(|sources| sources.found.as_deref());
    // Accounting goes on calling a job RUNNING that a crashed controller has lost: only an end is believed of it.
    let in_accounting = || found.and_then(|found| Listing::of(found).mine(attempt).kept).filter(|job| job.state.ended());
    let Some(job) = mine.kept.or_else(in_accounting) else { return missing(world, view, attempt, submitted, decisions) };
    let now_known = listing::seen(Some(&submitted.job), job);
    let over = listing::outcome(job).map(|outcome| {
        let at = job.ends_at.map_or(world.now, |end| end.min(world.now));
        Over { at, outcome, exit_code: listing::exit_code(job), spool_read: false }
    });
    let next = Submitted { job: now_known, missing_since: None, cancel: submitted.cancel.clone(), over };
    if next.over.is_none()
        && let Some(action) = cancel(world, view, attempt, job, &next)
    {
        decisions.push(action);
        return;
    }
    if next != *submitted {
        let event = (next.job.id != submitted.job.id).then(|| {
            let message = format!("job {} is kept for this attempt, not {}", next.job.id, submitted.job.id);
            NewEvent { kind: EventType::Warning, who: WHO.into(), reason: "JobReplaced", message }
        });
        decisions.push(moved(attempt, AttemptState::Submitted(next), event));
    }
}

/// `scancel`, when the user wants no job or when it can never start. Only for a job seen under our name in this very listing.
fn cancel(world: &World, view: &View, attempt: &Attempt, job: &JobView, next: &Submitted) -> Option<Action> {
    let (why, message) = match &job.pending {
        _ if view.unwanted() => (CancelWhy::Desired, "the user's wish".to_owned()),
        Some(PendingReason::NeverStarts(reason)) => {
            (CancelWhy::NeverStarts, format!("job {} can never start: {reason}. Change spec.slurm and submit again", job.id))
        }
        _ => return None,
    };
    let sent_lately = next.cancel.as_ref().is_some_and(|sent| world.since(sent.sent_at) < world.knobs.cancel_again);
    if sent_lately {
        return None;
    }
    let event = next.cancel.is_none().then(|| match why {
        CancelWhy::Desired => NewEvent::normal(WHO, "JobCancelled", format!("cancelling job {}", job.id)),
        CancelWhy::NeverStarts => {
            NewEvent { kind: EventType::Warning, who: WHO.into(), reason: "NeverStarts", message: message.clone() }
        }
    });
    // The first reason is the one that the end is explained by.
    let first = Cancel { since: world.now, sent_at: world.now, why, message };
    let cancel = next.cancel.clone().map_or(first, |sent| Cancel { sent_at: world.now, ..sent });
    let state = AttemptState::Submitted(Submitted { cancel: Some(cancel), ..next.clone() });
    let (uid, id, revision) = (attempt.experiment, attempt.id, attempt.revision);
    Some(Action::CancelJob { uid, attempt: id, revision, job_id: job.id.clone(), state, event })
}

/// Neither the listing nor accounting has the job: that alone is no end.
fn missing(world: &World, view: &View, attempt: &Attempt, submitted: &Submitted, decisions: &mut Decisions) {
    let sources = view.sources.get(&attempt.id);
    let claimed = attempt.claim.as_ref().map(|claim| claim.restart_count);
    let run = claimed.max(submitted.job.restarts).unwrap_or(0);
    let witness = sources.and_then(|sources| sources.witness).filter(|witness| witness.restart_count >= run);
    let over = |at: Option<Timestamp>, outcome, exit_code| {
        // The node's clock may be ahead of ours.
        let at = at.map_or(world.now, |at| at.min(world.now));
        let over = Some(Over { at, outcome, exit_code, spool_read: false });
        AttemptState::Submitted(Submitted { over, ..submitted.clone() })
    };
    if made(Mutant::AbsentIsFinished) {
        decisions.push(moved(attempt, over(None, JobOutcome::Completed, None), None));
        return;
    }
    if let Some(witness) = witness {
        let outcome = if witness.code == 0 { JobOutcome::Completed } else { JobOutcome::Failed };
        decisions.push(moved(attempt, over(witness.ended_at, outcome, Some(witness.code)), None));
        return;
    }
    let Some(since) = submitted.missing_since else {
        let state = AttemptState::Submitted(Submitted { missing_since: Some(world.now), ..submitted.clone() });
        decisions.push(moved(attempt, state, None));
        return;
    };
    let asked = sources.is_some_and(|sources| sources.found.is_some());
    let speaks = attempt.last_heard_at.is_some_and(|at| world.since(at) < world.knobs.agent_silent_after);
    if world.passed(since, world.knobs.missing_grace, decisions) && asked && !speaks {
        let message = format!("job {} is in no listing since {since} and its agent is silent", submitted.job.id);
        let event = NewEvent { kind: EventType::Warning, who: WHO.into(), reason: "JobVanished", message };
        decisions.push(moved(attempt, over(None, JobOutcome::Vanished, None), Some(event)));
    }
}

/// The job is over: read what it left, then judge.
fn collect(
    world: &World,
    view: &View,
    attempt: &Attempt,
    submitted: &Submitted,
    over: &Over,
    mine: Option<Mine<'_>>,
    decisions: &mut Decisions,
) {
    if let Some(job) = mine.and_then(|mine| mine.kept).filter(|job| !job.state.ended() && job.id == submitted.job.id) {
        // Somebody entitled requeued it: the same id lives again.
        let state = Submitted { job: listing::seen(Some(&submitted.job), job), over: None, ..submitted.clone() };
        let event = NewEvent::normal(WHO, "JobRequeued", format!("job {} is back in the queue", job.id));
        decisions.push(moved(attempt, AttemptState::Submitted(state), Some(event)));
        return;
    }
    let Some(shard) = view.open.shards.iter().find(|shard| shard.id == attempt.shard) else { return };
    let unfinished = shard::unfinished(view, shard);
    if !over.spool_read {
        // A farewell means that the spool is complete; else the last files may still be on their way over the network.
        let settled = attempt.farewell_at.is_some() || unfinished.is_empty();
        if settled || world.passed(over.at, world.knobs.collect_grace, decisions) {
            let read = Over { spool_read: true, ..over.clone() };
            let state = AttemptState::Submitted(Submitted { over: Some(read), ..submitted.clone() });
            let (uid, id, revision) = (attempt.experiment, attempt.id, attempt.revision);
            decisions.push(Action::ReadSpool { uid, attempt: id, revision, state });
        }
        return;
    }
    let end = ends::judge(view, shard, attempt, submitted, over);
    let event = ends::event(attempt, &submitted.job, &end);
    let state = AttemptState::Ended { at: world.now, end, job: Some(submitted.job.clone()), over: Some(over.clone()) };
    decisions.push(moved(attempt, state, Some(event)));
}

fn moved(attempt: &Attempt, state: AttemptState, event: Option<NewEvent>) -> Action {
    Action::Move { attempt: attempt.id, revision: attempt.revision, state, event, adopted: false }
}
