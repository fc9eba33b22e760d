//! Answers that are kept under a key: with the experiment or not at all, and for a day.

use super::*;
use crate::store::idempotency::RequestKey;

fn key(fingerprint: &str) -> RequestKey {
    RequestKey { key: "one".to_owned(), fingerprint: fingerprint.to_owned() }
}

#[tokio::test]
async fn an_answer_is_kept_with_its_experiment_or_not_at_all() {
    let base = Base::open().await;
    base.store.create_once(&admitted(&body("other")), "you", &key("a")).await.unwrap();
    // Makes the last write of the transaction fail, as a crash before it would.
    sqlx::query("CREATE UNIQUE INDEX broken ON idempotency_keys (created)").execute(&base.store.pool).await.unwrap();
    assert!(base.store.create_once(&admitted(&body("once")), "me", &key("a")).await.is_err());
    for table in ["SELECT COUNT(*) FROM experiments", "SELECT COUNT(*) FROM idempotency_keys"] {
        assert_eq!(base.count(table).await, 1, "{table}");
    }
    sqlx::query("DROP INDEX broken").execute(&base.store.pool).await.unwrap();
    let first = base.store.create_once(&admitted(&body("once")), "me", &key("a")).await.unwrap();
    let again = base.store.create_once(&admitted(&body("once")), "me", &key("a")).await.unwrap();
    assert_eq!((first.new, first.answer), (again.new, again.answer));
    assert!(matches!(base.store.create_once(&admitted(&body("once")), "me", &key("b")).await, Err(Error::KeyReused)));
    assert!(matches!(base.store.kept_answer("me", &key("b")).await, Err(Error::KeyReused)));
    assert!(base.store.kept_answer("them", &key("b")).await.unwrap().is_none());
}

#[tokio::test]
async fn after_a_day_a_key_is_forgotten() {
    let base = Base::open().await;
    base.store.create_once(&admitted(&body("once")), "me", &key("a")).await.unwrap();
    assert_eq!(base.store.forget_keys().await.unwrap(), 0);
    let age = "UPDATE idempotency_keys SET kept_at = '2020-01-01T00:00:00.000000Z'";
    sqlx::query(age).execute(&base.store.pool).await.unwrap();
    assert!(base.store.kept_answer("me", &key("b")).await.unwrap().is_none());
    assert!(base.store.create_once(&admitted(&body("other")), "me", &key("b")).await.unwrap().new, "free again");
    sqlx::query(age).execute(&base.store.pool).await.unwrap();
    assert_eq!(base.store.forget_keys().await.unwrap(), 1);
}
