//! The first body wins, an equal one is fine, another is kept as evidence; and how long an agent may deliver.

use super::*;
use crate::store::attempts::{End, EndKind};
use crate::store::counted::OutcomeKind;
use crate::store::handed_in::{Delivery, PutOutcome};

async fn put(base: &Base, measurement: &Measurement, delivery: Delivery) -> PutOutcome {
    base.store.put_measurement(measurement.attempt, measurement, delivery).await.unwrap().0
}

#[tokio::test]
async fn the_first_body_counts_and_a_different_one_is_kept_as_evidence() {
    let (base, stored, attempt) = Base::with_job("first").await;
    base.claim(attempt, "n", 0).await;
    let first = base.measurement(&stored, 0, attempt).await;
    assert_eq!(put(&base, &first, Delivery::Agent).await, PutOutcome::Accepted);
    assert_eq!(put(&base, &first, Delivery::Agent).await, PutOutcome::Same);
    assert_eq!(put(&base, &first, Delivery::Spool).await, PutOutcome::Same, "the spool holds what was sent");
    let mut other = first.clone();
    other.environment.node = "node2".to_owned();
    assert_eq!(put(&base, &other, Delivery::Agent).await, PutOutcome::Differs);
    assert_eq!(put(&base, &other, Delivery::Agent).await, PutOutcome::Differs);
    let kept = base.store.measurements(stored.uid).await.unwrap();
    assert_eq!(kept.into_iter().map(|(_, body)| body).collect::<Vec<_>>(), [first]);
    assert_eq!(base.count("SELECT COUNT(*) FROM measurements WHERE accepted = 0").await, 1, "once");
}

#[tokio::test]
async fn nobody_delivers_without_a_claim_but_the_spool_does() {
    let (base, stored, attempt) = Base::with_job("alone").await;
    let one = base.measurement(&stored, 0, attempt).await;
    assert_eq!(put(&base, &one, Delivery::Agent).await, PutOutcome::Fenced);
    assert_eq!(put(&base, &one, Delivery::Spool).await, PutOutcome::Accepted, "mkdir in the job directory decided");
}

#[tokio::test]
async fn an_older_epoch_counts_from_the_spool_only_as_far_as_it_ended_before_the_newer_began() {
    let (base, stored, attempt) = Base::with_job("older").await;
    base.claim(attempt, "first", 0).await;
    base.claim(attempt, "second", 1).await;
    let claimed_at = base.store.attempt(attempt).await.unwrap().claim.unwrap().at;
    let second = jiff::SignedDuration::from_secs(1);
    let before = Measurement { finished_at: claimed_at - second, ..base.measurement(&stored, 0, attempt).await };
    let after = Measurement { finished_at: claimed_at + second, ..base.measurement(&stored, 1, attempt).await };
    assert_eq!(put(&base, &before, Delivery::Spool).await, PutOutcome::Accepted);
    assert_eq!(put(&base, &after, Delivery::Spool).await, PutOutcome::Fenced);
}

#[tokio::test]
async fn an_agent_delivers_for_an_hour_after_the_end() {
    let (base, stored, attempt) = Base::with_job("late").await;
    base.claim(attempt, "n", 0).await;
    let end_before = |minutes: i64| {
        let end = End { kind: EndKind::Continuation, reason: "Preempted".into(), message: String::new() };
        AttemptState::Ended { at: now() - jiff::SignedDuration::from_mins(minutes), end, job: None, over: None }
    };
    let (first, second) = (base.measurement(&stored, 0, attempt).await, base.measurement(&stored, 1, attempt).await);
    for (minutes, measurement, wanted) in [(59, &first, PutOutcome::Accepted), (61, &second, PutOutcome::Fenced)] {
        let revision = base.store.attempt(attempt).await.unwrap().revision;
        base.store.save_attempt(attempt, revision, &end_before(minutes), None).await.unwrap();
        assert_eq!(put(&base, measurement, Delivery::Agent).await, wanted, "{minutes} min");
    }
    assert_eq!(base.claim(attempt, "n", 5).await, None, "it can claim nothing");
}

#[tokio::test]
async fn a_trial_of_another_experiment_is_foreign() {
    let (base, _, attempt) = Base::with_job("mine").await;
    base.claim(attempt, "n", 0).await;
    let other = base.create("other").await;
    let foreign = base.measurement(&other, 0, attempt).await;
    assert!(matches!(put(&base, &foreign, Delivery::Agent).await, PutOutcome::Foreign(_)));
    assert_eq!(base.count("SELECT COUNT(*) FROM measurements").await, 0);
}

#[tokio::test]
async fn a_measurement_of_other_settings_than_its_trials_is_foreign() {
    let (base, stored, attempt) = Base::with_job("settings").await;
    base.claim(attempt, "n", 0).await;
    let right = base.measurement(&stored, 0, attempt).await;
    let wrong = [
        Measurement { batch_size: right.batch_size + 1, ..right.clone() },
        Measurement { repetition: right.repetition + 1, ..right.clone() },
        Measurement { load: em_api::spec::LoadLevel::Concurrency(999), ..right.clone() },
    ];
    for measurement in wrong {
        assert!(matches!(put(&base, &measurement, Delivery::Agent).await, PutOutcome::Foreign(_)), "{measurement:?}");
    }
    assert_eq!(put(&base, &right, Delivery::Agent).await, PutOutcome::Accepted);
}

#[tokio::test]
async fn what_was_handed_in_reads_back_by_its_outcome() {
    let (base, stored, attempt) = Base::with_job("outcomes").await;
    base.claim(attempt, "n", 0).await;
    let mut failed = base.measurement(&stored, 0, attempt).await;
    crate::results::fixture::fail(&mut failed, "no health");
    put(&base, &failed, Delivery::Agent).await;
    put(&base, &base.measurement(&stored, 1, attempt).await, Delivery::Agent).await;
    let handed = base.store.handed(stored.uid).await.unwrap();
    let found: Vec<_> = handed.iter().map(|one| (one.outcome, one.reason.as_deref())).collect();
    assert_eq!(found, [(OutcomeKind::Failed, Some("ServiceStartFailed")), (OutcomeKind::Measured, None)]);
    let trials = base.store.trials(&stored).await.unwrap();
    assert_eq!(trials[0].message.as_deref(), Some("no health"));
}

#[tokio::test]
async fn a_reason_in_any_words_reads_back() {
    let (base, stored, attempt) = Base::with_job("words").await;
    base.claim(attempt, "n", 0).await;
    for (trial, reason) in ["- two words = \n", "", "-"].into_iter().enumerate() {
        let mut failed = base.measurement(&stored, trial, attempt).await;
        crate::results::fixture::fail(&mut failed, "no health");
        if let em_api::measurement::Outcome::Failed { reason: kept, .. } = &mut failed.outcome {
            *kept = reason.to_owned();
        }
        put(&base, &failed, Delivery::Agent).await;
    }
    let handed = base.store.handed(stored.uid).await.unwrap();
    let reasons: Vec<_> = handed.iter().map(|one| one.reason.as_deref()).collect();
    assert_eq!(reasons, [Some("- two words =  "), Some(""), Some("-")], "on one line");
}
