//! The decision: rows and Slurm's listing → actions. Pure and synchronous; `now` is a value. A panic about one experiment leaves
//! the others as they are.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use em_api::ExperimentUid;

use super::limits::Wait;
use super::listing::Listing;
use super::shard::Place;
use super::standing::Held;
use super::world::{Action, Decisions, Step, View, World};
use super::{attempt, limits, shard, standing};
use crate::supervise::panic_text;

/// What to do about everything that was seen.
pub fn plan(world: &World) -> Decisions {
    plan_by(world, experiment)
}

/// The same by another rule for one experiment, for tests that break it.
pub(super) fn plan_by(world: &World, decide: impl Fn(&World, &Seen<'_>, &View, &mut u32, &mut Decisions)) -> Decisions {
    let mut decisions = Decisions::default();
    let seen = Seen { listing: world.slurm.jobs.as_deref().map(Listing::of), waiting: limits::waiting(world) };
    let mut submissions = world.submissions_left;
    for view in &world.experiments {
        if view.rests(Step::Decide) {
            if let Some(standing) = standing::stalled(world, view) {
                let stored = &view.open.stored;
                decisions.push(Action::Show { uid: stored.uid, revision: stored.revision, standing, events: Vec::new() });
            }
            continue;
        }
        let (mut one, mut left) = (Decisions::default(), submissions);
        // What it has decided before it panicked is dropped with it.
        match catch_unwind(AssertUnwindSafe(|| decide(world, &seen, view, &mut left, &mut one))) {
            Ok(()) => {
                let submits = |one: &Decisions| one.actions.iter().filter(|one| matches!(one, Action::Submit { .. })).count();
                let before = submits(&one);
                one.actions.retain(|action| !rests(view, action));
                submissions = left.saturating_add(u32::try_from(before - submits(&one)).unwrap_or(0));
                decisions.join(one);
            }
            Err(panic) => decisions.panicked.push((view.open.stored.uid, panic_text(panic.as_ref()))),
        }
    }
    strays(world, &mut decisions);
    decisions
}

/// What is made once of the whole world.
pub(super) struct Seen<'a> {
    listing: Option<Listing<'a>>,
    /// Experiments beyond a limit.
    waiting: HashMap<ExperimentUid, Wait>,
}

/// Whether the step failed a moment ago.
fn rests(view: &View, action: &Action) -> bool {
    let inputs_unknown = matches!(action, Action::CreateAttempt { .. } | Action::Submit { .. }) && view.rests(Step::Inputs);
    inputs_unknown || Step::of(action).is_some_and(|step| view.rests(step))
}

pub(super) fn experiment(world: &World, seen: &Seen<'_>, view: &View, submissions: &mut u32, decisions: &mut Decisions) {
    let stored = &view.open.stored;
    let wait = seen.waiting.get(&stored.uid);
    let mut throttled = false;
    for one in view.open.attempts.iter().filter(|attempt| !attempt.ended()) {
        throttled |= attempt::step(world, seen.listing.as_ref(), view, one, submissions, decisions);
    }
    decisions.held_back |= throttled;
    let mut idle = view.open.attempts.iter().all(crate::store::attempts::Attempt::ended);
    // With `sameNode` the first job decides where the others run: until it has a node, it is the only one.
    let undecided = matches!(shard::place(view), Place::Undecided);
    if !view.unwanted() && !stored.phase.ended() {
        for one in &view.open.shards {
            match shard::next(view, one, &world.knobs) {
                shard::Next::Start { number, not_before } if !view.lacks_inputs() && wait.is_none() => {
                    if undecided && !idle {
                        break;
                    }
                    idle = false;
                    if world.due(not_before) {
                        let (uid, shard) = (stored.uid, one.id);
                        decisions.push(Action::CreateAttempt { uid, shard, number, not_before: world.now });
                    } else {
                        decisions.later(not_before);
                    }
                }
                _ => {}
            }
        }
    }
    if stored.deleted_at.is_some() && idle {
        decisions.push(Action::Remove { uid: stored.uid, revision: stored.revision });
        return;
    }
    if let Some((standing, events)) = standing::change(world, view, Held { throttled, wait }, decisions) {
        decisions.push(Action::Show { uid: stored.uid, revision: stored.revision, standing, events });
    }
}

/// Live jobs under our name that no open attempt owns: of attempts that ended (requeued by hand, say) or that are gone.
fn strays(world: &World, decisions: &mut Decisions) {
    let Some(jobs) = &world.slurm.jobs else { return };
    let owned: HashSet<&str> = world
        .experiments
        .iter()
        .flat_map(|view| &view.open.attempts)
        .filter(|attempt| !attempt.ended())
        .map(|attempt| attempt.job_name.as_str())
        .collect();
    let ours = |name: &str| name.starts_with(&world.job_prefix) && !owned.contains(name);
    for job in jobs.iter().filter(|job| !job.state.ended() && ours(&job.name)) {
        decisions.push(Action::CancelStray { job_id: job.id.clone(), name: job.name.clone() });
    }
}
