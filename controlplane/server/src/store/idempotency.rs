//! Answers to creates, kept for a day under the key that came with the request. The answer is stored in the transaction that stores
//! the experiment, so a crash keeps both or loses both, and a retry after a lost answer makes nothing new.

use em_api::experiment::Created;

use super::codec::{Columns, ago, json, time};
use super::{Error, Result, Store, Write, now};

/// Retries come within minutes; a day covers a machine that was off overnight.
const KEPT_SECONDS: i64 = 24 * 3600;

/// By what a repeated request is known. Keys of two owners never meet.
#[derive(Clone, Debug)]
pub struct RequestKey {
    pub key: String,
    /// SHA-256 (hex) of what was posted: the same key with something else is a mistake of the caller's.
    pub fingerprint: String,
}

/// What a create was answered, now or before.
#[derive(Clone, Debug)]
pub struct Kept {
    /// False: an equal experiment of that name was there already.
    pub new: bool,
    pub answer: Created,
}

impl Store {
    /// The answer to an earlier request with this key. Errors: [`Error::KeyReused`] when something else was posted with it.
    pub async fn kept_answer(&self, owner: &str, key: &RequestKey) -> Result<Option<Kept>> {
        let row = sqlx::query(FIND)
            .bind(owner.to_owned())
            .bind(key.key.clone())
            .bind(time(ago(now(), KEPT_SECONDS)))
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| read(&row, key)).transpose()
    }

    /// Keeps the answer to a create that found what it wanted to make.
    pub(super) async fn keep_found(&self, owner: &str, key: &RequestKey, answer: Created) -> Result<Kept> {
        let mut write = self.write().await?;
        let kept = Kept { new: false, answer };
        write.keep_answer(owner, key, &kept).await?;
        self.commit(write).await?;
        Ok(kept)
    }

    /// Removes keys that are too old to be asked for.
    pub async fn forget_keys(&self) -> Result<u64> {
        let mut write = self.write().await?;
        let removed = write.forget_keys().await?;
        self.commit(write).await?;
        Ok(removed)
    }
}

const FIND: &str =
    "SELECT fingerprint, created, answer FROM idempotency_keys WHERE owner = $1 AND request_key = $2 AND kept_at > $3";

fn read(row: &sqlx::any::AnyRow, key: &RequestKey) -> Result<Kept> {
    if row.text("fingerprint")? != key.fingerprint {
        return Err(Error::KeyReused);
    }
    Ok(Kept { new: row.int("created")? == 1, answer: row.read_json("answer")? })
}

impl Write {
    pub(super) async fn kept_answer(&mut self, owner: &str, key: &RequestKey) -> Result<Option<Kept>> {
        let row = sqlx::query(FIND)
            .bind(owner.to_owned())
            .bind(key.key.clone())
            .bind(time(ago(now(), KEPT_SECONDS)))
            .fetch_optional(&mut *self.tx)
            .await?;
        row.map(|row| read(&row, key)).transpose()
    }

    /// Errors: [`Error::KeyInUse`] when another server kept an answer under this key a moment ago.
    pub(super) async fn keep_answer(&mut self, owner: &str, key: &RequestKey, kept: &Kept) -> Result<()> {
        self.forget_keys().await?;
        let inserted = sqlx::query(
            "INSERT INTO idempotency_keys (owner, request_key, fingerprint, created, answer, kept_at)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (owner, request_key) DO NOTHING",
        )
        .bind(owner.to_owned())
        .bind(key.key.clone())
        .bind(key.fingerprint.clone())
        .bind(i64::from(kept.new))
        .bind(json(&kept.answer))
        .bind(time(now()))
        .execute(&mut *self.tx)
        .await?;
        if inserted.rows_affected() == 1 { Ok(()) } else { Err(Error::KeyInUse) }
    }

    async fn forget_keys(&mut self) -> Result<u64> {
        let removed = sqlx::query("DELETE FROM idempotency_keys WHERE kept_at <= $1")
            .bind(time(ago(now(), KEPT_SECONDS)))
            .execute(&mut *self.tx)
            .await?;
        Ok(removed.rows_affected())
    }
}
