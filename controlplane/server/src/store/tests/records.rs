//! Streams: each record once, within a bound.

use super::*;
use crate::store::records::AppendOutcome;

#[tokio::test]
async fn a_record_that_comes_twice_is_kept_once() {
    let (base, stored, attempt) = Base::with_job("twice").await;
    base.claim(attempt, "n", 0).await;
    for _ in 0..2 {
        let outcome = base.store.append_records(attempt, 0, &[log(1, "one"), log(2, "two")]).await.unwrap();
        assert!(matches!(outcome, AppendOutcome::Stored(_)));
    }
    base.store.import_records(attempt, 0, &[log(2, "two"), log(3, "three")]).await.unwrap();
    let lines = base.store.log_lines(stored.uid, 0, 100).await.unwrap();
    assert_eq!(lines.iter().map(|line| line.line.as_str()).collect::<Vec<_>>(), ["one", "two", "three"]);
    let rest = base.store.log_lines(stored.uid, lines[0].seq.cast_signed(), 100).await.unwrap();
    assert_eq!(rest.len(), 2, "it goes on behind a position");
}

#[tokio::test]
async fn the_logs_of_a_job_are_capped_and_say_so() {
    let (base, stored, attempt) = Base::with_job("cap").await;
    base.claim(attempt, "n", 0).await;
    let mebibyte = "x".repeat(1 << 20);
    for seq in 0..20 {
        base.store.append_records(attempt, 0, &[log(seq, &mebibyte)]).await.unwrap();
    }
    let lines = base.store.log_lines(stored.uid, 0, 100).await.unwrap();
    assert!(lines.iter().map(|line| line.line.len()).sum::<usize>() <= 16 << 20);
    assert!(lines.len() >= 15);
    assert!(lines.last().unwrap().line.contains("log limit"), "{}", lines.last().unwrap().line);
    assert_eq!(lines.iter().filter(|line| line.line.contains("log limit")).count(), 1);
}

#[tokio::test]
async fn a_farewell_of_an_older_epoch_is_not_the_running_ones() {
    let (base, _, attempt) = Base::with_job("farewell").await;
    base.claim(attempt, "first", 0).await;
    base.claim(attempt, "second", 1).await;
    let farewell = Record { seq: 9, at: now(), body: RecordBody::Farewell { message: "done".into() } };
    base.store.import_records(attempt, 0, std::slice::from_ref(&farewell)).await.unwrap();
    assert_eq!(base.store.attempt(attempt).await.unwrap().farewell_at, None);
    base.store.append_records(attempt, 1, &[farewell]).await.unwrap();
    assert!(base.store.attempt(attempt).await.unwrap().farewell_at.is_some());
}
