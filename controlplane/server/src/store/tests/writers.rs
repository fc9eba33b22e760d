//! Many writers at once: none fails, none is lost, and versions are seen in their order.

use super::*;
use crate::store::handed_in::{Delivery, PutOutcome};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_writers_and_eight_readers_at_once_meet_no_locked_database() {
    let base = Base::open().await;
    let mut tasks = Vec::new();
    for writer in 0..8 {
        let store = base.store.clone();
        tasks.push(tokio::spawn(async move {
            let name = format!("writer-{writer}");
            store.create_experiment(&admitted(&body(&name)), "me").await.unwrap();
            let stored = store.stored(&name).await.unwrap();
            let rows = store.matrix(stored.uid).await.unwrap();
            let attempt = store.create_attempt(stored.uid, rows[0].shard, 1, now()).await.unwrap();
            store.claim(&request(attempt, "7", "n", 0)).await.unwrap();
            for (seq, row) in (0..).zip(&rows) {
                store.append_records(attempt, 0, &[log(seq, "line")]).await.unwrap();
                let (outcome, _) = store.put_measurement(attempt, &measured(row, attempt), Delivery::Agent).await.unwrap();
                assert_eq!(outcome, PutOutcome::Accepted);
            }
        }));
        let store = base.store.clone();
        tasks.push(tokio::spawn(async move {
            for _ in 0..20 {
                store.open_experiments().await.unwrap();
                tokio::task::yield_now().await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(base.count("SELECT COUNT(*) FROM measurements WHERE accepted = 1").await, 32);
    assert_eq!(base.count("SELECT COUNT(*) FROM records").await, 32);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_on_one_database_wait_for_each_other() {
    // A server and, say, `sqlite3` or a backup: the lock of this process alone does not help.
    let base = Base::open().await;
    let other = open(&base.url).await;
    assert_eq!(other.server8(), base.store.server8(), "made once per database");
    let tasks = [base.store.clone(), other].into_iter().enumerate().map(|(which, store)| {
        tokio::spawn(async move {
            for number in 0..20 {
                store.create_experiment(&admitted(&body(&format!("p{which}-{number}"))), "me").await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(base.count("SELECT COUNT(DISTINCT resource_version) FROM experiments").await, 40);
}

#[tokio::test]
async fn a_write_that_is_given_up_leaves_nothing_and_holds_nothing() {
    let (base, stored, attempt) = Base::with_job("dropped").await;
    let version = stored.resource_version;
    for _ in 0..20 {
        assert_eq!(base.claim(attempt, "n", 0).await, Some(0));
        let stale = base.store.save_attempt(attempt, 99, &AttemptState::Intended { not_before: now() }, None).await;
        assert!(matches!(stale, Err(Error::Stale(_))));
    }
    let seen = base.store.stored("dropped").await.unwrap().resource_version;
    assert!(seen - version <= 3, "attempt, its job, one claim: {version} → {seen}");
}
