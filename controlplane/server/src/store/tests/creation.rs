//! Creating is safe to repeat by name and spec; deleting answers even when the experiment is gone at once.

use super::*;
use crate::store::counted::count;

async fn create(base: &Base, body: &Value) -> Result<Creation, Error> {
    base.store.create_experiment(&admitted(body), "me").await
}

#[tokio::test]
async fn the_same_name_and_spec_is_the_same_experiment_labels_and_retries_apart() {
    let base = Base::open().await;
    let Ok(Creation::New(first)) = create(&base, &body("same")).await else { panic!("created") };
    let mut again = body("same");
    again["metadata"]["labels"] = json!({"team": "search"});
    again["spec"]["retries"] = 7.into();
    match create(&base, &again).await {
        Ok(Creation::Existing(found)) => assert_eq!(found.metadata.uid, first.metadata.uid),
        other => panic!("the one that was there, not {other:?}"),
    }
    assert_eq!(base.count("SELECT COUNT(*) FROM shards").await, 1, "nothing was stored twice");
}

#[tokio::test]
async fn the_same_name_with_another_spec_is_refused_and_stores_nothing() {
    let base = Base::open().await;
    create(&base, &body("taken")).await.unwrap();
    let mut other = body("taken");
    other["spec"]["matrix"]["batchSizes"] = json!([16, 32]);
    assert!(matches!(create(&base, &other).await, Err(Error::NameTaken(_))));
    assert_eq!(base.count("SELECT COUNT(*) FROM shards").await, 1);
}

#[tokio::test]
async fn eight_posts_of_one_experiment_at_once_make_one() {
    let base = Base::open().await;
    let posts = (0..8).map(|_| {
        let store = base.store.clone();
        tokio::spawn(async move { store.create_experiment(&admitted(&body("once")), "me").await.unwrap() })
    });
    let mut new = 0;
    for post in posts.collect::<Vec<_>>() {
        new += i32::from(matches!(post.await.unwrap(), Creation::New(_)));
    }
    assert_eq!(new, 1);
}

#[tokio::test]
async fn a_name_is_free_again_only_when_the_deleted_experiment_is_gone() {
    let base = Base::open().await;
    let first = base.create("again").await;
    let deleted = base.store.delete_experiment("again", None, "me").await.unwrap();
    assert!(deleted.metadata.deleted_at.is_some());
    assert!(matches!(create(&base, &body("again")).await, Err(Error::BeingDeleted(_))));
    let revision = base.store.stored("again").await.unwrap().revision;
    assert!(matches!(base.store.remove_experiment(first.uid, revision - 1).await, Err(Error::Stale(_))));
    base.store.remove_experiment(first.uid, revision).await.unwrap();
    for table in ["SELECT COUNT(*) FROM attempts", "SELECT COUNT(*) FROM shards", "SELECT COUNT(*) FROM events"] {
        assert_eq!(base.count(table).await, 0, "{table}");
    }
    assert_eq!(base.count("SELECT COUNT(*) FROM tombstones").await, 1);
    assert_ne!(base.create("again").await.uid, first.uid);
}

#[tokio::test]
async fn the_matrix_reads_back_as_it_was_expanded() {
    let base = Base::open().await;
    let stored = base.create("matrix").await;
    let shards = base.store.parts(stored.uid).await.unwrap().shards;
    assert_eq!(shards.len(), 1);
    let blocks: Vec<_> = shards[0].blocks.iter().map(|block| (block.repetition, block.trials.len())).collect();
    assert_eq!(blocks, [(1, 2), (2, 2)]);
    let trials: Vec<_> = shards[0].blocks[0].trials.iter().map(|(_, trial)| *trial).collect();
    assert!(!count(&trials, &[], false).finished);
}
