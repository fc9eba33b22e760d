//! Conditions, as in Kubernetes: each a word, a sentence with the cure, and since when.

use em_api::Timestamp;
use em_api::status::{Condition, ConditionStatus, ConditionType, Phase};
use jiff::SignedDuration;

use super::standing::{Held, missing};
use super::world::{Decisions, View, World};
use crate::store::attempts::{Attempt, AttemptState};

pub(super) fn update(
    conditions: &mut Vec<Condition>,
    world: &World,
    view: &View,
    phase: Phase,
    message: &Option<String>,
    held: Held<'_>,
    decisions: &mut Decisions,
) {
    let mut set = |kind, status, reason: &str, message: String| put(conditions, kind, status, reason, message, world.now);
    let (yes, no) = (ConditionStatus::True, ConditionStatus::False);
    if phase.ended() {
        let reason = phase.as_str();
        set(ConditionType::Complete, yes, reason, message.clone().unwrap_or_default());
        for kind in [ConditionType::Queued, ConditionType::AgentSilent, ConditionType::Throttled, ConditionType::Stalled] {
            clear(conditions, kind, world.now);
        }
        return;
    }
    match &view.missing_inputs {
        None => {}
        Some(none) if none.is_empty() => set(ConditionType::InputsReady, yes, "Present", "all inputs are in the store".to_owned()),
        Some(_) => set(ConditionType::InputsReady, no, "MissingInputs", missing(view)),
    }
    match (&world.slurm.unreachable, &world.slurm.jobs) {
        (Some(error), _) => {
            let message = format!("{error}. The experiment waits and goes on by itself when Slurm answers");
            set(ConditionType::SchedulerReachable, no, "Unreachable", message);
        }
        (None, Some(_)) => set(ConditionType::SchedulerReachable, yes, "Reachable", "Slurm answers".to_owned()),
        (None, None) => {}
    }
    let open: Vec<&Attempt> = view.open.attempts.iter().filter(|attempt| !attempt.ended()).collect();
    match queued(&open).filter(|_| phase == Phase::Queued) {
        Some((reason, message)) => set(ConditionType::Queued, yes, &reason, message),
        None => clear(conditions, ConditionType::Queued, world.now),
    }
    let mut set = |kind, status, reason: &str, message: String| put(conditions, kind, status, reason, message, world.now);
    match silent(world, &open, decisions) {
        Some(message) => set(ConditionType::AgentSilent, yes, "NoRecords", message),
        None => clear(conditions, ConditionType::AgentSilent, world.now),
    }
    let mut set = |kind, status, reason: &str, message: String| put(conditions, kind, status, reason, message, world.now);
    match (held.wait, &world.submit_limit) {
        (Some(wait), _) => set(ConditionType::Throttled, yes, "ConcurrencyLimit", wait.message.clone()),
        (None, Some(words)) if held.throttled => {
            let message = format!("Slurm takes no more jobs of this account for now ({words}); they are submitted as others end");
            set(ConditionType::Throttled, yes, "SubmitLimit", message);
        }
        (None, None) if held.throttled => {
            set(ConditionType::Throttled, yes, "SubmissionRate", "held back by the limit of submissions a second".to_owned());
        }
        _ => clear(conditions, ConditionType::Throttled, world.now),
    }
    stalled(conditions, world, view, decisions);
}

/// So long after a step was due it counts as stuck.
const STUCK_AFTER: SignedDuration = SignedDuration::from_secs(60);

/// What stands in the way of this experiment alone: a step that keeps failing, or one that waits for too long.
pub(super) fn stalled(conditions: &mut Vec<Condition>, world: &World, view: &View, decisions: &mut Decisions) {
    let failing = view.troubles.first().map(|trouble| (trouble.reason, trouble.message.clone()));
    match failing.or_else(|| view.open.attempts.iter().find_map(|attempt| stuck(world, attempt, decisions))) {
        Some((reason, message)) => {
            put(conditions, ConditionType::Stalled, ConditionStatus::True, reason, message, world.now);
        }
        None => clear(conditions, ConditionType::Stalled, world.now),
    }
}

/// Slurm answers, and still a step of this attempt does not come to an end.
fn stuck(world: &World, attempt: &Attempt, decisions: &mut Decisions) -> Option<(&'static str, String)> {
    if world.slurm.unreachable.is_some() {
        return None;
    }
    let late =
        |since, grace: SignedDuration, decisions: &mut Decisions| world.passed(since, grace.saturating_add(STUCK_AFTER), decisions);
    match &attempt.state {
        AttemptState::Submitting { since } if late(*since, world.knobs.settle, decisions) => Some((
            "SubmissionUnclear",
            format!(
                "whether {} was submitted is unclear since {since:.0}, and accounting does not answer: look at `sacct` and slurmdbd. \
                 Nothing is submitted twice meanwhile; it goes on by itself",
                attempt.job_name
            ),
        )),
        AttemptState::Submitted(submitted) if submitted.over.is_none() => {
            let id = &submitted.job.id;
            match (submitted.missing_since, &submitted.cancel) {
                (Some(missing), _) if late(missing, world.knobs.missing_grace, decisions) => Some((
                    "JobMissing",
                    format!(
                        "job {id} is in no listing since {missing:.0}; it is not given up while its agent speaks or accounting does \
                         not answer (look at `sacct -j {id}`)"
                    ),
                )),
                (None, Some(cancel)) if late(cancel.since, SignedDuration::ZERO, decisions) => Some((
                    "JobStays",
                    format!(
                        "job {id} was cancelled at {:.0} and Slurm still lists it as {}: look at `scontrol show job {id}` and at its \
                         node; a node that does not let go of a job is an administrator's to mend. scancel is repeated meanwhile",
                        cancel.since,
                        submitted.job.state.as_deref().unwrap_or("there")
                    ),
                )),
                _ => None,
            }
        }
        _ => None,
    }
}

fn queued(open: &[&Attempt]) -> Option<(String, String)> {
    open.iter().find_map(|attempt| {
        let AttemptState::Submitted(submitted) = &attempt.state else { return None };
        let job = &submitted.job;
        let words = job.reason.clone().unwrap_or_else(|| "Pending".to_owned());
        let reason: String = words.chars().take_while(char::is_ascii_alphanumeric).collect();
        let start = job.expected_start.map(|at| format!("; Slurm expects to start it at {at:.0}")).unwrap_or_default();
        let reason = if reason.is_empty() { "Pending".to_owned() } else { reason };
        Some((reason, format!("job {} waits in the queue: {words}{start}", job.id)))
    })
}

/// Only of an agent that had spoken in its epoch: before, the job may simply be starting.
fn silent(world: &World, open: &[&Attempt], decisions: &mut Decisions) -> Option<String> {
    open.iter().find_map(|attempt| {
        let AttemptState::Submitted(submitted) = &attempt.state else { return None };
        let claim = attempt.claim.as_ref()?;
        let heard = attempt.last_heard_at?;
        if submitted.over.is_some()
            || attempt.farewell_at.is_some()
            || !world.passed(heard, world.knobs.agent_silent_after, decisions)
        {
            return None;
        }
        Some(format!(
            "the agent of job {} on {} was last heard at {heard:.0}; it goes on measuring and delivers from its job directory",
            submitted.job.id, claim.node
        ))
    })
}

/// The transition time moves only when the status does.
pub(super) fn put(
    conditions: &mut Vec<Condition>,
    kind: ConditionType,
    status: ConditionStatus,
    reason: &str,
    message: String,
    now: Timestamp,
) {
    match conditions.iter_mut().find(|condition| condition.kind == kind) {
        Some(held) => {
            if held.status != status {
                held.last_transition_time = now;
            }
            (held.status, held.reason, held.message) = (status, reason.to_owned(), message);
        }
        None => conditions.push(Condition { kind, status, reason: reason.to_owned(), message, last_transition_time: now }),
    }
}

/// A condition that was never true is absent rather than false.
fn clear(conditions: &mut Vec<Condition>, kind: ConditionType, now: Timestamp) {
    let held = conditions.iter().any(|condition| condition.kind == kind && condition.status == ConditionStatus::True);
    if held {
        put(conditions, kind, ConditionStatus::False, "Cleared", String::new(), now);
    }
}
