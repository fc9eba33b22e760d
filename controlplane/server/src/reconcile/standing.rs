//! What an experiment shows: phase, message, conditions. Computed anew from what was seen; written only when it differs.

use em_api::spec::Desired;
use em_api::status::{Condition, EventType, Phase, TrialCounts};

use super::attempt::WHO;
use super::conditions;
use super::limits::Wait;
use super::shard::{self, Next};
use super::world::{Decisions, View, World};
use crate::job::inputs;
use crate::store::attempts::{Attempt, AttemptState, End};
use crate::store::events::NewEvent;
use crate::store::transitions::Standing;
use crate::store::trials;
use crate::store::world::Open;

/// What holds its next job back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held<'a> {
    /// The pace of submissions.
    pub(super) throttled: bool,
    /// A limit on active experiments.
    pub(super) wait: Option<&'a Wait>,
}

/// The new standing with its events, when it is another one than what is stored.
pub(super) fn change(world: &World, view: &View, held: Held<'_>, decisions: &mut Decisions) -> Option<(Standing, Vec<NewEvent>)> {
    let stored = &view.open.stored;
    let (phase, message) = phase(world, view, held.wait);
    let mut conditions = stored.conditions.clone();
    conditions::update(&mut conditions, world, view, phase, &message, held, decisions);
    let first_claim = view.open.attempts.iter().filter_map(|attempt| attempt.claim.as_ref()).map(|claim| claim.at).min();
    let idle = view.open.attempts.iter().all(Attempt::ended);
    let standing = Standing {
        phase,
        message,
        conditions,
        trials: phase.ended().then(|| counted(&view.open, phase)),
        observed_generation: stored.generation,
        started_at: stored.started_at.or(first_claim),
        finished_at: if phase.ended() { stored.finished_at.or(Some(world.now)) } else { None },
        settled: idle && stored.deleted_at.is_none() && (phase.ended() || phase == Phase::Suspended),
    };
    if !standing.settled && same(&standing, stored) {
        return None;
    }
    let events = if standing.phase == stored.phase { Vec::new() } else { vec![event(&standing)] };
    Some((standing, events))
}

/// Of an experiment about which nothing can be decided: as it is stored, and that it is stalled. `None`: that is shown already.
pub(super) fn stalled(world: &World, view: &View) -> Option<Standing> {
    let stored = &view.open.stored;
    let mut conditions = stored.conditions.clone();
    conditions::stalled(&mut conditions, world, view, &mut Decisions::default());
    let standing = Standing {
        phase: stored.phase,
        message: stored.message.clone(),
        conditions,
        trials: stored.trials,
        observed_generation: stored.observed_generation,
        started_at: stored.started_at,
        finished_at: stored.finished_at,
        settled: false,
    };
    (!same(&standing, stored)).then_some(standing)
}

fn counted(open: &Open, phase: Phase) -> TrialCounts {
    let rows = trials::rows(&open.shards);
    trials::tally(&trials::states(&rows, &open.handed, &open.attempts, phase, open.stored.spec.retry_trials), &open.handed)
}

fn same(standing: &Standing, stored: &crate::store::experiments::Stored) -> bool {
    let same_conditions = |a: &[Condition], b: &[Condition]| a == b;
    standing.phase == stored.phase
        && standing.message == stored.message
        && same_conditions(&standing.conditions, &stored.conditions)
        && standing.observed_generation == stored.observed_generation
        && standing.started_at == stored.started_at
        && standing.finished_at == stored.finished_at
}

fn event(standing: &Standing) -> NewEvent {
    let message = standing.message.clone().unwrap_or_else(|| standing.phase.as_str().to_owned());
    let kind = if standing.phase == Phase::Failed { EventType::Warning } else { EventType::Normal };
    NewEvent { kind, who: WHO.to_owned(), reason: standing.phase.as_str(), message }
}

fn phase(world: &World, view: &View, wait: Option<&Wait>) -> (Phase, Option<String>) {
    let stored = &view.open.stored;
    if stored.phase.ended() {
        return (stored.phase, stored.message.clone());
    }
    let open: Vec<&Attempt> = view.open.attempts.iter().filter(|attempt| !attempt.ended()).collect();
    let nexts: Vec<Next> = view.open.shards.iter().map(|shard| shard::next(view, shard, &world.knobs)).collect();
    let over = |next: &Next| matches!(next, Next::Finished | Next::GivenUp(_));
    if open.is_empty() && nexts.iter().all(over) {
        return ended(view, &nexts);
    }
    if open.is_empty() && view.unwanted() {
        let paused = stored.deleted_at.is_none() && stored.spec.desired == Desired::Suspended;
        return if paused {
            (Phase::Suspended, Some("paused; finished trials are kept".to_owned()))
        } else {
            (Phase::Cancelled, Some("cancelled".to_owned()))
        };
    }
    let (phase, message) = match furthest(&open) {
        Some((phase, message)) => (phase, message),
        None if view.lacks_inputs() => (Phase::Preparing, missing(view)),
        None => (Phase::Pending, wait.map_or_else(|| waiting(world, &nexts), |wait| wait.message.clone())),
    };
    let message = if view.unwanted() { "stopping its job".to_owned() } else { message };
    (phase, Some(message))
}

fn ended(view: &View, nexts: &[Next]) -> (Phase, Option<String>) {
    let given_up: Option<&End> = nexts.iter().find_map(|next| match next {
        Next::GivenUp(end) => Some(end),
        _ => None,
    });
    if shard::all_measured(view) {
        return (Phase::Succeeded, Some("every trial is measured".to_owned()));
    }
    let message = match given_up {
        Some(end) => format!("{}: {}", end.reason, end.message),
        None => failed_trials(view),
    };
    (Phase::Failed, Some(message))
}

fn failed_trials(view: &View) -> String {
    let failed: Vec<_> = view.open.handed.iter().filter(|one| one.outcome == crate::store::counted::OutcomeKind::Failed).collect();
    let mut reasons: Vec<&str> = failed.iter().filter_map(|one| one.reason.as_deref()).collect();
    reasons.sort_unstable();
    reasons.dedup();
    format!("{} trials failed: {}; the end of their services' logs is in the list of trials", failed.len(), reasons.join(", "))
}

/// The phase of the attempt that is furthest; of several jobs, how many are how far.
fn furthest(open: &[&Attempt]) -> Option<(Phase, String)> {
    let rank = |phase: Phase| match phase {
        Phase::Running => 4,
        Phase::Collecting => 3,
        Phase::Queued => 2,
        _ => 1,
    };
    let phases: Vec<(Phase, String)> = open.iter().map(|attempt| attempt_phase(attempt)).collect();
    let (phase, message) = phases.iter().max_by_key(|(phase, _)| rank(*phase)).cloned()?;
    if phases.len() == 1 {
        return Some((phase, message));
    }
    let count = |rank_of: u8, word: &str| {
        let number = phases.iter().filter(|(phase, _)| rank(*phase) == rank_of).count();
        (number > 0).then(|| format!("{number} {word}"))
    };
    let counts = [count(4, "running"), count(3, "collecting"), count(2, "queued"), count(1, "being submitted")];
    let counts: Vec<String> = counts.into_iter().flatten().collect();
    Some((phase, format!("{} jobs: {}", phases.len(), counts.join(", "))))
}

fn attempt_phase(attempt: &Attempt) -> (Phase, String) {
    let submitted = match &attempt.state {
        AttemptState::Submitted(submitted) => submitted,
        _ => return (Phase::Submitting, "submitting the job".to_owned()),
    };
    let job = &submitted.job;
    if submitted.over.is_some() {
        return (Phase::Collecting, format!("job {} is over; collecting what it left", job.id));
    }
    let pending = job.state.as_deref() == Some("PENDING");
    let requeued = attempt.claim.as_ref().is_some_and(|claim| job.restarts.is_some_and(|restarts| restarts > claim.restart_count));
    match &attempt.claim {
        Some(claim) if !(pending && requeued) => (Phase::Running, format!("job {} runs on {}", job.id, claim.node)),
        _ if job.state.as_deref() == Some("RUNNING") => {
            (Phase::Running, format!("job {} has started on {}", job.id, job.node.as_deref().unwrap_or("its node")))
        }
        _ => {
            let reason = job.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
            (Phase::Queued, format!("job {} waits in the queue{reason}", job.id))
        }
    }
}

fn waiting(world: &World, nexts: &[Next]) -> String {
    let next = nexts.iter().find_map(|next| match next {
        Next::Start { number, not_before } if !world.due(*not_before) && *number > 1 => Some((number, not_before)),
        _ => None,
    });
    match next {
        Some((number, at)) => format!("job {number} is submitted at {at:.0}"),
        None => "waiting to be submitted".to_owned(),
    }
}

pub(super) fn missing(view: &View) -> String {
    inputs::told(view.missing_inputs.as_deref().unwrap_or_default(), &view.cure)
}
