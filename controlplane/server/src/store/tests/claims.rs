//! The claim: one process at a time, and fences behind it.

use super::*;
use crate::store::handed_in::{Delivery, PutOutcome};
use crate::store::records::AppendOutcome;

#[tokio::test]
async fn the_same_nonce_gets_the_same_epoch_and_another_is_refused() {
    let (base, _, attempt) = Base::with_job("one").await;
    assert_eq!(base.claim(attempt, "first", 0).await, Some(0));
    assert_eq!(base.claim(attempt, "first", 0).await, Some(0));
    assert_eq!(base.claim(attempt, "second", 0).await, None);
    let other_job = base.store.claim(&request(attempt, "8", "first", 1)).await.unwrap();
    assert!(matches!(other_job, ClaimOutcome::Taken { job_id, .. } if job_id == "7"));
}

#[tokio::test]
async fn eight_processes_claim_at_once_and_one_gets_it() {
    let (base, _, attempt) = Base::with_job("race").await;
    let claims = (0..8).map(|process| {
        let store = base.store.clone();
        tokio::spawn(async move { store.claim(&request(attempt, "7", &format!("process {process}"), 0)).await.unwrap() })
    });
    let mut granted = 0;
    for claim in claims.collect::<Vec<_>>() {
        granted += i32::from(matches!(claim.await.unwrap(), ClaimOutcome::Granted(_)));
    }
    assert_eq!(granted, 1);
}

#[tokio::test]
async fn a_requeue_opens_a_new_epoch_and_fences_the_older_on_everything() {
    let (base, stored, attempt) = Base::with_job("epochs").await;
    base.claim(attempt, "first", 0).await;
    assert_eq!(base.claim(attempt, "second", 1).await, Some(1));
    assert_eq!(base.claim(attempt, "first", 0).await, None, "claim");
    let records = base.store.append_records(attempt, 0, &[log(1, "late")]).await.unwrap();
    assert_eq!(records, AppendOutcome::Fenced, "records");
    let old = base.measurement(&stored, 0, attempt).await;
    let (outcome, _) = base.store.put_measurement(attempt, &old, Delivery::Agent).await.unwrap();
    assert_eq!(outcome, PutOutcome::Fenced, "measurement");
    let new = Measurement { epoch: 1, ..old };
    assert_eq!(base.store.put_measurement(attempt, &new, Delivery::Agent).await.unwrap().0, PutOutcome::Accepted);
    assert_eq!(base.count("SELECT COUNT(*) FROM records").await, 0);
}

#[tokio::test]
async fn a_claim_proves_a_submission_whose_answer_was_lost() {
    let base = Base::open().await;
    let stored = base.create("proof").await;
    let shard = base.store.matrix(stored.uid).await.unwrap()[0].shard;
    let attempt = base.store.create_attempt(stored.uid, shard, 1, now()).await.unwrap();
    base.store.begin_submitting(attempt, 0, "hash", now()).await.unwrap();
    assert_eq!(base.claim(attempt, "n", 0).await, Some(0));
    let held = base.store.attempt(attempt).await.unwrap();
    assert_eq!(held.job().map(|job| job.id.as_str()), Some("7"));
    // The answer of sbatch, recorded too late, is refused: the claim knows better.
    let late = base.store.save_attempt(attempt, 1, &AttemptState::Intended { not_before: now() }, None).await;
    assert!(matches!(late, Err(Error::Stale(_))));
}

#[tokio::test]
async fn a_second_job_that_was_barred_can_not_claim_but_the_kept_one_can() {
    let (base, _, attempt) = Base::with_job("barred").await;
    let revision = base.store.attempt(attempt).await.unwrap().revision;
    base.store.refuse_job(attempt, revision, "8").await.unwrap();
    let refused = base.store.claim(&request(attempt, "8", "n", 0)).await.unwrap();
    assert!(matches!(refused, ClaimOutcome::Taken { .. }));
    assert_eq!(base.claim(attempt, "n", 0).await, Some(0));
    let too_late = base.store.refuse_job(attempt, revision + 1, "7").await;
    assert!(matches!(too_late, Err(Error::Stale(_))), "it claimed before it was barred");
}
