//! What is taken away after an end, and what is told of it: each in the transaction that it belongs to.

use em_api::status::{Condition, ConditionStatus, ConditionType, Phase};
use jiff::SignedDuration;

use super::*;
use crate::store::events::NewEvent;
use crate::store::outbox::NewNotification;
use crate::store::transitions::Standing;

fn standing(phase: Phase) -> Standing {
    Standing {
        phase,
        message: None,
        conditions: Vec::new(),
        trials: None,
        observed_generation: 1,
        started_at: None,
        finished_at: phase.ended().then(now),
        settled: phase.ended(),
    }
}

async fn ended(base: &Base, name: &str) -> Stored {
    let stored = base.store.stored(name).await.unwrap();
    base.store.save_standing(stored.uid, stored.revision, &standing(Phase::Failed), &[]).await.unwrap();
    base.store.stored(name).await.unwrap()
}

async fn due(base: &Base) -> Vec<String> {
    base.store.cleanup_due(10).await.unwrap().into_iter().map(|stored| stored.name).collect()
}

#[tokio::test]
async fn an_end_is_looked_at_by_clean_up_and_again_when_a_user_changes_something() {
    let (base, stored, _) = Base::with_job("looked-at").await;
    assert!(due(&base).await.is_empty(), "it has not ended");
    let stored = ended(&base, &stored.name).await;
    assert_eq!(due(&base).await, ["looked-at"]);
    base.store.cleanup_later(&stored, None).await.unwrap();
    assert!(due(&base).await.is_empty());
    let labels = Some([("em/pinned".to_owned(), Some("true".to_owned()))].into());
    let metadata = Some(em_api::experiment::MetadataPatch { labels, ..Default::default() });
    let patch = em_api::experiment::ExperimentPatch { metadata, ..Default::default() };
    base.store.patch_experiment("looked-at", &patch, None, "me").await.unwrap();
    assert_eq!(due(&base).await, ["looked-at"]);
    base.store.cleanup_later(&stored, None).await.unwrap();
    assert_eq!(due(&base).await, ["looked-at"], "decided from an older row: without effect");
}

#[tokio::test]
async fn logs_are_removed_in_parts_and_measurements_stay() {
    let (base, stored, attempt) = Base::with_job("logs").await;
    base.claim(attempt, "n", 0).await;
    for batch in 0..3 {
        let records: Vec<Record> = (0..1_500).map(|seq| log(batch * 1_500 + seq + 1, "line")).collect();
        base.store.append_records(attempt, 0, &records).await.unwrap();
    }
    let text = "em_x 1\n".to_owned();
    let exposition = Record { seq: 9_000, at: now(), body: RecordBody::Exposition { text } };
    base.store.append_records(attempt, 0, &[exposition]).await.unwrap();
    let measurement = base.measurement(&stored, 0, attempt).await;
    base.store.put_measurement(attempt, &measurement, crate::store::handed_in::Delivery::Agent).await.unwrap();
    let stored = ended(&base, "logs").await;
    let mut parts = 0;
    while base.store.remove_some_logs(stored.uid).await.unwrap() {
        parts += 1;
    }
    assert_eq!(parts, 3, "4,500 lines, 2,000 at most at once");
    let gone = Condition {
        kind: ConditionType::LogsRemoved,
        status: ConditionStatus::True,
        reason: "Expired".to_owned(),
        message: String::new(),
        last_transition_time: now(),
    };
    let event = NewEvent::normal("cleanup", "LogsRemoved", "gone");
    base.store.logs_removed(&stored, std::slice::from_ref(&gone), &event).await.unwrap();
    assert!(matches!(base.store.logs_removed(&stored, &[gone], &event).await, Err(Error::Stale(_))), "once");
    assert!(base.store.log_lines(stored.uid, 0, 10).await.unwrap().is_empty());
    assert!(base.store.exposition(attempt).await.unwrap().is_none());
    assert_eq!(base.store.handed(stored.uid).await.unwrap().len(), 1);
    assert_eq!(base.store.stored("logs").await.unwrap().conditions.len(), 1);
}

#[tokio::test]
async fn an_expired_experiment_goes_by_the_way_of_a_delete_and_leaves_its_folder_to_be_removed() {
    let (base, stored, _) = Base::with_job("expired").await;
    let stored = ended(&base, &stored.name).await;
    let event = NewEvent::normal("cleanup", "Expired", "its ttl is over");
    base.store.expire_experiment(&stored, &event).await.unwrap();
    assert!(matches!(base.store.expire_experiment(&stored, &event).await, Err(Error::Stale(_))));
    let marked = base.store.stored("expired").await.unwrap();
    assert!(marked.deleted_at.is_some());
    assert_eq!(base.store.events(stored.uid, 10).await.unwrap().last().unwrap().reason, "Expired", "told before it goes");
    assert_eq!(base.store.open_experiments().await.unwrap().len(), 1, "the reconciler removes it");
    base.store.remove_experiment(stored.uid, marked.revision).await.unwrap();
    let left = base.store.leftovers(10).await.unwrap();
    assert_eq!((left[0].uid, left[0].name.as_str(), left[0].tries), (stored.uid, "expired", 0));
    base.store.leftover_later(stored.uid, now().checked_add(SignedDuration::from_hours(1)).unwrap()).await.unwrap();
    assert!(base.store.leftovers(10).await.unwrap().is_empty(), "not now");
    base.store.leftover_later(stored.uid, now()).await.unwrap();
    assert_eq!(base.store.leftovers(10).await.unwrap()[0].tries, 2);
    base.store.leftover_done(stored.uid).await.unwrap();
    assert!(base.store.leftovers(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_end_and_its_notification_are_stored_together_or_not_at_all() {
    let (base, stored, _) = Base::with_job("told").await;
    let new = NewNotification { id: "01".to_owned(), body: "{}".to_owned() };
    let end = standing(Phase::Failed);
    let stale = base.store.save_end(stored.uid, stored.revision + 7, &end, &[], Some(&new)).await;
    assert!(matches!(stale, Err(Error::Stale(_))));
    assert_eq!(base.store.notifications_waiting().await.unwrap().0, 0);
    let revision = base.store.stored("told").await.unwrap().revision;
    base.store.save_end(stored.uid, revision, &end, &[], Some(&new)).await.unwrap();
    let far = now().checked_add(SignedDuration::from_hours(2)).unwrap();
    let pending = base.store.notifications_due(far, 10).await.unwrap();
    assert_eq!((pending.len(), pending[0].id.as_str(), pending[0].body.as_str(), pending[0].tries), (1, "01", "{}", 0));
    let hour = now().checked_add(SignedDuration::from_hours(1)).unwrap();
    base.store.notification_later("01", hour).await.unwrap();
    assert!(base.store.notifications_due(far, 10).await.unwrap().is_empty(), "in an hour");
    assert_eq!(base.store.notifications_due(now(), 10).await.unwrap()[0].tries, 1, "put off before the clock was set back");
    assert_eq!(base.store.trial_counts(&stored, Phase::Failed).await.unwrap().failed, 4);
    base.store.notification_done("01").await.unwrap();
    assert_eq!(base.store.notifications_waiting().await.unwrap(), (0, None));
}
