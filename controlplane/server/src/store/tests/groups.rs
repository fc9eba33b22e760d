//! Commits in groups: whoever waits goes along, and what goes wrong for one goes wrong for that one alone.

use std::collections::HashSet;

use super::*;
use crate::store::events::NewEvent;

async fn uncommitted(store: &Store, stored: &Stored, reason: &'static str) -> crate::store::Write {
    let mut write = store.write().await.unwrap();
    write.event(stored.uid, now(), &NewEvent::normal("test", reason, "")).await.unwrap();
    write
}

async fn reasons(base: &Base, stored: &Stored) -> Vec<String> {
    base.store.events(stored.uid, 100).await.unwrap().into_iter().map(|event| event.reason).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn failures_and_callers_that_leave_take_no_other_write_with_them() {
    let base = Base::open().await;
    let held = base.create("held").await;
    let mut tasks = Vec::new();
    for number in 0..60 {
        let (store, held) = (base.store.clone(), held.clone());
        tasks.push(tokio::spawn(async move {
            match number % 3 {
                0 => {
                    let mut other = body("held");
                    other["spec"]["retries"] = 1.into();
                    other["spec"]["matrix"]["batchSizes"] = json!([number + 1, 64]);
                    let refused = store.create_experiment(&admitted(&other), "me").await;
                    assert!(matches!(refused, Err(Error::NameTaken(_))));
                    None
                }
                1 => {
                    drop(uncommitted(&store, &held, "Left").await);
                    None
                }
                _ => {
                    let name = format!("kept-{number}");
                    let Creation::New(made) = store.create_experiment(&admitted(&body(&name)), "me").await.unwrap() else {
                        panic!("it is new")
                    };
                    Some(made)
                }
            }
        }));
    }
    let mut versions = HashSet::new();
    for task in tasks {
        if let Some(made) = task.await.unwrap() {
            let found = base.store.experiment(&made.metadata.name).await.unwrap();
            assert_eq!(found, made, "what was acknowledged is what is stored");
            assert!(versions.insert(made.metadata.resource_version), "each write has a version of its own");
        }
    }
    assert_eq!(versions.len(), 20);
    assert_eq!(reasons(&base, &held).await, ["Accepted"], "nothing of what was left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_version_is_announced_only_when_everybody_can_read_it() {
    let base = Base::open().await;
    let mut versions = base.store.versions();
    let writers: Vec<_> = (0..40)
        .map(|number| {
            let store = base.store.clone();
            tokio::spawn(async move { store.create_experiment(&admitted(&body(&format!("v-{number}"))), "me").await.unwrap() })
        })
        .collect();
    loop {
        versions.changed().await.unwrap();
        let announced = *versions.borrow_and_update();
        let readable = base.store.changes(0, 100).await.unwrap();
        let found: HashSet<i64> = readable.iter().map(|change| change.version).collect();
        assert!((1..=announced).all(|version| found.contains(&version)), "{announced} was announced; {found:?}");
        if announced == 40 {
            break;
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

#[tokio::test]
async fn a_group_that_the_database_ends_is_lost_whole_and_said_so() {
    let base = Base::open().await;
    let held = base.create("held").await;
    // Both wait for their turn before the first begins, so they are in one group.
    let gate = base.store.write().await.unwrap();
    let first = {
        let (store, held) = (base.store.clone(), held.clone());
        tokio::spawn(async move {
            let write = uncommitted(&store, &held, "First").await;
            store.commit(write).await
        })
    };
    let second = {
        let (store, held) = (base.store.clone(), held.clone());
        tokio::spawn(async move {
            let mut write = uncommitted(&store, &held, "Second").await;
            // What SQLite does by itself when the disk is full.
            sqlx::query("ROLLBACK").execute(&mut *write.tx).await.unwrap();
        })
    };
    base.store.writer.until_waiting(3).await;
    drop(gate);
    let first = first.await.unwrap();
    assert!(matches!(first, Err(Error::NotCommitted(_))), "{first:?}");
    second.await.unwrap();
    assert_eq!(reasons(&base, &held).await, ["Accepted"]);
    base.store.commit(uncommitted(&base.store, &held, "Third").await).await.unwrap();
    assert_eq!(reasons(&base, &held).await, ["Accepted", "Third"], "the next one has a new connection");
}

#[tokio::test]
async fn writes_beyond_the_bound_are_told_to_come_again() {
    let base = Base::open().await;
    let held = base.create("held").await;
    let write = uncommitted(&base.store, &held, "First").await;
    let waiting: Vec<_> = (0..2_000)
        .map(|_| {
            let store = base.store.clone();
            tokio::spawn(async move { store.write().await.map(drop) })
        })
        .collect();
    base.store.writer.until_waiting(1024).await;
    assert!(matches!(base.store.write().await, Err(Error::Busy)));
    base.store.commit(write).await.unwrap();
    for waiting in waiting {
        assert!(matches!(waiting.await.unwrap(), Ok(()) | Err(Error::Busy)));
    }
    base.store.commit(uncommitted(&base.store, &held, "Second").await).await.unwrap();
    assert_eq!(reasons(&base, &held).await, ["Accepted", "First", "Second"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_leaves_at_any_point_leaves_a_whole_create_or_none() {
    let base = Base::open().await;
    let create = |name: String| {
        let store = base.store.clone();
        tokio::spawn(async move { store.create_experiment(&admitted(&body(&name)), "me").await })
    };
    let mut staying = Vec::new();
    for number in 0..60 {
        staying.push(create(format!("stays-{number}")));
        let leaving = create(format!("leaves-{number}"));
        for _ in 0..number * 4 {
            tokio::task::yield_now().await;
        }
        leaving.abort();
    }
    for staying in staying {
        assert!(matches!(staying.await.unwrap(), Ok(Creation::New(_))), "nobody else is hurt");
    }
    let stored = base.store.page(&crate::store::filter::Filter::default(), "", 1_000).await.unwrap().items;
    assert_eq!(stored.iter().filter(|one| one.name.starts_with("stays-")).count(), 60);
    for one in stored {
        assert_eq!(base.store.matrix(one.uid).await.unwrap().len(), 4, "{}", one.name);
        assert_eq!(reasons(&base, &one).await, ["Accepted"], "{}", one.name);
    }
}
