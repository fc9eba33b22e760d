//! The wall clock is set, by hours, forward or back: nothing ends by that, and nothing waits for hours.

use em_api::status::{ConditionStatus, ConditionType};

use super::*;

const HOURS: i64 = 5 * 3_600;

/// The clock is set now, by so many seconds.
fn set(mut world: World, seconds: i64) -> World {
    world.now = world.now.checked_add(SignedDuration::from_secs(seconds)).expect("small");
    world.knobs.awake_since = world.now;
    world
}

fn later(mut world: World, seconds: i64) -> World {
    world.now = world.now.checked_add(SignedDuration::from_secs(seconds)).expect("small");
    world
}

/// Running, missing in the listing for 10 s, and its agent spoke 5 s ago.
fn missing() -> World {
    let AttemptState::Submitted(submitted) = submitted("RUNNING") else { unreachable!("made so") };
    let state = AttemptState::Submitted(Submitted { missing_since: Some(at(990)), ..submitted });
    world().with_attempt(state).claimed(5).unlisted(Sources { found: Some(Vec::new()), witness: None })
}

fn vanishes(world: &World) -> bool {
    world.decide().actions.iter().any(|action| matches!(action, Action::Move { .. }))
}

#[test]
fn a_missing_job_is_given_the_whole_grace_after_the_clock_was_set() {
    for jump in [HOURS, -HOURS] {
        let world = set(missing(), jump);
        assert!(!vanishes(&world), "{jump}");
        assert!(!vanishes(&later(world.clone(), 100)), "{jump}");
        assert!(vanishes(&later(world, 121)), "{jump}: and not for ever");
    }
}

#[test]
fn an_agent_is_not_silent_because_the_clock_was_set() {
    let silent = |world: &World| {
        let standing = world.shown();
        standing.conditions.iter().any(|one| one.kind == ConditionType::AgentSilent && one.status == ConditionStatus::True)
    };
    for jump in [HOURS, -HOURS] {
        let world = set(world().with_attempt(submitted("RUNNING")).claimed(5).listing(&[("7", JobState::Running)]), jump);
        assert!(!silent(&world), "{jump}");
        assert!(silent(&later(world, 61)), "{jump}: but when it stays so");
    }
}

#[test]
fn an_unclear_submission_settles_anew_and_a_pause_from_before_is_over() {
    let asked = Sources { found: Some(Vec::new()), witness: None };
    for jump in [HOURS, -HOURS] {
        let unclear = world().with_attempt(AttemptState::Submitting { since: at(999) }).unlisted(asked.clone());
        let unclear = set(unclear, jump);
        assert!(!vanishes(&unclear), "{jump}");
        assert!(matches!(later(unclear, 21).moved(), AttemptState::Intended { .. }), "{jump}");
    }
    let submits = |world: &World| world.decide().actions.iter().any(|action| matches!(action, Action::Submit { .. }));
    let paused = world().with_attempt(AttemptState::Intended { not_before: at(1_010) });
    assert!(!submits(&paused));
    assert!(submits(&set(paused, -HOURS)));
    let ended = set(world().with_attempt(ended(EndKind::Retry, 999)), -HOURS);
    assert_eq!(ended.created(), Some(2));
}

#[test]
fn ages_are_never_negative() {
    let world = set(world(), -HOURS);
    assert_eq!(world.since(at(999)), SignedDuration::ZERO);
    assert!(world.since(at(-9 * HOURS)) == SignedDuration::ZERO, "nor longer than it is awake");
}
