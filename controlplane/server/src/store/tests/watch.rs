//! What watchers are told from the database: nothing twice, nothing left out, and how far back.

use super::*;
use crate::store::filter::Filter;
use crate::store::watch::{ChangeKind, Span};

async fn remove(base: &Base, name: &str) {
    base.store.delete_experiment(name, None, "me").await.unwrap();
    let stored = base.store.stored(name).await.unwrap();
    base.store.remove_experiment(stored.uid, stored.revision).await.unwrap();
}

/// All pages behind `since`: the version and the name of each change.
async fn told(base: &Base, mut since: i64, limit: i64) -> Vec<(i64, String)> {
    let mut all = Vec::new();
    loop {
        let page = base.store.changes(since, limit).await.unwrap();
        let Some(last) = page.last() else { return all };
        assert!(last.version > since, "it goes on");
        since = last.version;
        all.extend(page.into_iter().map(|change| match change.kind {
            ChangeKind::Written(stored) => (change.version, stored.name),
            ChangeKind::Removed { name, .. } => (change.version, format!("-{name}")),
        }));
    }
}

#[tokio::test]
async fn pages_of_any_size_tell_each_change_once() {
    let base = Base::open().await;
    for name in ["a", "b", "c", "d", "e", "f"] {
        base.create(name).await;
    }
    for name in ["b", "d", "f"] {
        remove(&base, name).await;
    }
    // One transaction may touch several.
    let version: i64 =
        sqlx::query_scalar("SELECT resource_version FROM experiments WHERE name = 'e'").fetch_one(&base.store.pool).await.unwrap();
    sqlx::query("UPDATE experiments SET resource_version = $1").bind(version).execute(&base.store.pool).await.unwrap();
    let whole = told(&base, 0, 100).await;
    let names: Vec<&str> = whole.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["a", "c", "e", "-b", "-d", "-f"]);
    for limit in 1..=6 {
        assert_eq!(told(&base, 0, limit).await, whole, "pages of {limit}");
    }
    assert_eq!(told(&base, whole[3].0, 2).await, whole[4..]);
}

#[tokio::test]
async fn old_removals_are_forgotten() {
    let base = Base::open().await;
    for name in ["a", "b", "c", "d"] {
        base.create(name).await;
    }
    for name in ["a", "b", "c", "d"] {
        remove(&base, name).await;
    }
    let versions: Vec<i64> = told(&base, 0, 10).await.into_iter().map(|(version, _)| version).collect();
    let begin = now();
    assert_eq!(base.store.compact(begin.checked_sub(jiff::SignedDuration::from_hours(1)).unwrap()).await.unwrap(), 0);
    let old = "UPDATE tombstones SET deleted_at = '2020-01-01T00:00:00.000000Z' WHERE name = 'a'";
    sqlx::query(old).execute(&base.store.pool).await.unwrap();
    assert_eq!(base.store.compact(begin.checked_sub(jiff::SignedDuration::from_hours(1)).unwrap()).await.unwrap(), 1);
    assert_eq!(base.store.span().await.unwrap(), Span { compacted: versions[0], newest: versions[3] });
    assert_eq!(told(&base, versions[0], 10).await.len(), 3, "the others are told");
}

#[tokio::test]
async fn events_of_an_experiment_are_bounded() {
    let base = Base::open().await;
    let stored = base.create("loud").await;
    sqlx::query(
        "INSERT INTO events (experiment_uid, seq, happened_at, kind, who, reason, message)
         WITH RECURSIVE n (seq) AS (SELECT 2 UNION ALL SELECT seq + 1 FROM n WHERE seq < 1500)
         SELECT $1, seq, '2026-11-24T00:00:00.000000Z', 'Normal', 'me', 'Told', 'so' FROM n",
    )
    .bind(stored.uid.to_string())
    .execute(&base.store.pool)
    .await
    .unwrap();
    base.store.delete_experiment("loud", None, "me").await.unwrap();
    assert_eq!(base.count("SELECT COUNT(*) FROM events").await, 1_000);
    assert_eq!(base.store.event_span(stored.uid).await.unwrap(), Span { compacted: 501, newest: 1_501 });
}

#[tokio::test]
async fn a_page_of_a_list_looks_at_so_many_rows_and_no_more() {
    let base = Base::open().await;
    for number in 0..9 {
        base.create(&format!("n{number}")).await;
    }
    let names = |page: &crate::store::pages::Page| page.items.iter().map(|item| item.name.clone()).collect::<Vec<_>>().concat();
    let filter = Filter { labels: vec![crate::store::filter::LabelTerm::Has("none".to_owned())], fields: Vec::new() };
    let short = base.store.page_within(&filter, "", 5, (2, 4)).await.unwrap();
    assert_eq!((names(&short).as_str(), short.next.as_deref()), ("", Some("n3")));
    let last = base.store.page_within(&filter, "n7", 5, (2, 4)).await.unwrap();
    assert_eq!(last.next, None);
    let full = base.store.page_within(&Filter::default(), "", 5, (2, 100)).await.unwrap();
    assert_eq!((names(&full).as_str(), full.next.as_deref()), ("n0n1n2n3n4", Some("n4")));
}
