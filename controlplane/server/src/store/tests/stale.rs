//! Writes that were decided from an older row are refused; and a trouble that lasts is told once.

use em_api::experiment::{ExperimentPatch, SpecPatch};
use em_api::spec::Desired;
use em_api::status::Phase;

use super::*;
use crate::store::events::NewEvent;
use crate::store::handed_in::{Delivery, PutOutcome};
use crate::store::transitions::Standing;

fn standing(phase: Phase) -> Standing {
    Standing {
        phase,
        message: None,
        conditions: Vec::new(),
        trials: None,
        observed_generation: 1,
        started_at: None,
        finished_at: None,
        settled: false,
    }
}

fn wish(desired: Desired) -> ExperimentPatch {
    ExperimentPatch { spec: Some(SpecPatch { desired: Some(desired), ..SpecPatch::default() }), ..ExperimentPatch::default() }
}

#[tokio::test]
async fn an_attempt_is_moved_only_from_the_revision_that_was_read() {
    let (base, _, attempt) = Base::with_job("stale").await;
    let state = AttemptState::Intended { not_before: now() };
    assert!(matches!(base.store.save_attempt(attempt, 0, &state, None).await, Err(Error::Stale(_))));
    let read = base.store.attempt(attempt).await.unwrap();
    base.store.save_attempt(attempt, read.revision, &state, None).await.unwrap();
    assert_eq!(base.store.attempt(attempt).await.unwrap().state, state, "what is stored reads back equal");
    let stale = base.store.begin_submitting(attempt, read.revision, "hash", now()).await;
    assert!(matches!(stale, Err(Error::Stale(_))));
    assert!(!base.store.attempt_token_matches(attempt, "hash").await.unwrap(), "a refused write changes nothing");
}

#[tokio::test]
async fn a_job_that_was_submitted_is_not_submitted_from_an_old_row() {
    let (base, _, attempt) = Base::with_job("twice").await;
    let revision = base.store.attempt(attempt).await.unwrap().revision;
    let again = base.store.begin_submitting(attempt, revision, "hash", now()).await;
    assert!(matches!(again, Err(Error::Stale(_))), "only from Intended");
}

#[tokio::test]
async fn a_shard_never_has_two_open_attempts() {
    let (base, stored, _) = Base::with_job("two").await;
    let shard = base.store.matrix(stored.uid).await.unwrap()[0].shard;
    assert!(matches!(base.store.create_attempt(stored.uid, shard, 2, now()).await, Err(Error::Stale(_))));
}

#[tokio::test]
async fn a_wish_of_the_user_makes_an_older_decision_stale() {
    let base = Base::open().await;
    let read = base.create("wish").await;
    base.store.patch_experiment("wish", &wish(Desired::Suspended), None, "me").await.unwrap();
    let late = base.store.save_standing(read.uid, read.revision, &standing(Phase::Queued), &[]).await;
    assert!(matches!(late, Err(Error::Stale(_))));
    let read = base.store.stored("wish").await.unwrap();
    base.store.save_standing(read.uid, read.revision, &standing(Phase::Suspended), &[]).await.unwrap();
    let now_shown = base.store.stored("wish").await.unwrap();
    assert_eq!((now_shown.phase, now_shown.spec.desired), (Phase::Suspended, Desired::Suspended));
    assert!(now_shown.resource_version > read.resource_version);
}

#[tokio::test]
async fn if_match_holds_against_the_version_that_was_read() {
    let base = Base::open().await;
    let read = base.create("match").await;
    let version = read.resource_version.cast_unsigned();
    let refused = base.store.patch_experiment("match", &wish(Desired::Suspended), Some(&[version + 1]), "me").await;
    assert!(matches!(refused, Err(Error::Stale(_))));
    base.store.patch_experiment("match", &wish(Desired::Suspended), Some(&[version]), "me").await.unwrap();
    let again = base.store.patch_experiment("match", &wish(Desired::Run), Some(&[version]), "me").await;
    assert!(matches!(again, Err(Error::Stale(_))));
}

#[tokio::test]
async fn an_ended_experiment_does_not_run_again_by_a_patch() {
    let base = Base::open().await;
    let read = base.create("over").await;
    base.store.save_standing(read.uid, read.revision, &standing(Phase::Failed), &[]).await.unwrap();
    let refused = base.store.patch_experiment("over", &wish(Desired::Suspended), None, "me").await;
    assert!(matches!(refused, Err(Error::AlreadyEnded { .. })));
}

#[tokio::test]
async fn a_measurement_makes_a_standing_stale_and_comes_too_late_for_one_that_has_ended() {
    let (base, stored, attempt) = Base::with_job("ended").await;
    base.claim(attempt, "n", 0).await;
    let (first, second) = (base.measurement(&stored, 0, attempt).await, base.measurement(&stored, 1, attempt).await);
    let put = async |measurement: &Measurement, delivery| {
        base.store.put_measurement(attempt, measurement, delivery).await.unwrap().0
    };
    let blind = base.store.stored("ended").await.unwrap().revision;
    assert_eq!(put(&first, Delivery::Agent).await, PutOutcome::Accepted);
    let refused = base.store.save_standing(stored.uid, blind, &standing(Phase::Failed), &[]).await;
    assert!(matches!(refused, Err(Error::Stale(_))), "decided without the measurement: {refused:?}");
    let seen = base.store.stored("ended").await.unwrap().revision;
    base.store.save_standing(stored.uid, seen, &standing(Phase::Failed), &[]).await.unwrap();
    for delivery in [Delivery::Agent, Delivery::Spool] {
        assert_eq!(put(&second, delivery).await, PutOutcome::Fenced, "what people were told stays");
        assert_eq!(put(&first, delivery).await, PutOutcome::Same, "its answer may have been lost");
    }
    assert_eq!(base.store.handed(stored.uid).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_trouble_that_lasts_is_told_once_until_something_else_happens() {
    let base = Base::open().await;
    let stored = base.create("trouble").await;
    let full = NewEvent::warning("reconciler", "JobDirectoryFailed", "no space left");
    for _ in 0..3 {
        base.store.add_event(stored.uid, &full).await.unwrap();
    }
    base.store.add_event(stored.uid, &NewEvent::normal("reconciler", "JobSubmitted", "job 7")).await.unwrap();
    base.store.add_event(stored.uid, &full).await.unwrap();
    let reasons: Vec<_> = base.store.events(stored.uid, 10).await.unwrap().into_iter().map(|event| event.reason).collect();
    assert_eq!(reasons, ["Accepted", "JobDirectoryFailed", "JobSubmitted", "JobDirectoryFailed"]);
}
