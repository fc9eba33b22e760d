//! What happened to experiments, for people.

use em_api::status::{Event, EventType};
use em_api::{ExperimentUid, Timestamp};

use super::codec::{Columns, spell, time};
use super::watch::Span;
use super::{Result, Store, Write};

/// Of one experiment; older ones are forgotten.
pub const MOST_EVENTS: i64 = 1_000;

/// An event not yet stored.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    pub kind: EventType,
    pub who: String,
    pub reason: &'static str,
    pub message: String,
}

impl NewEvent {
    pub fn normal(who: impl Into<String>, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind: EventType::Normal, who: who.into(), reason, message: message.into() }
    }

    pub fn warning(who: impl Into<String>, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind: EventType::Warning, who: who.into(), reason, message: message.into() }
    }
}

impl Write {
    pub(super) async fn event(&mut self, uid: ExperimentUid, at: Timestamp, event: &NewEvent) -> Result<()> {
        // Takes the counter's lock first, so that two writers cannot choose the same number.
        self.touch(uid).await?;
        if event.kind == EventType::Warning && self.last_event_equals(uid, event).await? {
            return Ok(());
        }
        let next = "INSERT INTO events (experiment_uid, seq, happened_at, kind, who, reason, message)
                    VALUES ($1, (SELECT COALESCE(MAX(seq), 0) + 1 FROM events WHERE experiment_uid = $1), $2, $3, $4, $5, $6)";
        self.insert_event(next, uid, at, event).await?;
        sqlx::query(
            "DELETE FROM events WHERE experiment_uid = $1 AND seq <= (SELECT MAX(seq) FROM events WHERE experiment_uid = $1) - $2",
        )
        .bind(uid.to_string())
        .bind(MOST_EVENTS)
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// The first event of an experiment that this transaction makes.
    pub(super) async fn first_event(&mut self, uid: ExperimentUid, at: Timestamp, event: &NewEvent) -> Result<()> {
        let first =
            "INSERT INTO events (experiment_uid, seq, happened_at, kind, who, reason, message) VALUES ($1, 1, $2, $3, $4, $5, $6)";
        self.insert_event(first, uid, at, event).await
    }

    async fn insert_event(&mut self, insert: &'static str, uid: ExperimentUid, at: Timestamp, event: &NewEvent) -> Result<()> {
        sqlx::query(insert)
            .bind(uid.to_string())
            .bind(time(at))
            .bind(spell(&event.kind))
            .bind(event.who.clone())
            .bind(event.reason)
            .bind(event.message.clone())
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// A trouble that lasts is told once, not each time that it is met.
    async fn last_event_equals(&mut self, uid: ExperimentUid, event: &NewEvent) -> Result<bool> {
        let last = sqlx::query("SELECT reason, message FROM events WHERE experiment_uid = $1 ORDER BY seq DESC LIMIT 1")
            .bind(uid.to_string())
            .fetch_optional(&mut *self.tx)
            .await?;
        let Some(last) = last else { return Ok(false) };
        Ok(last.text("reason")? == event.reason && last.text("message")? == event.message)
    }
}

impl Store {
    /// The newest `limit` events, oldest first.
    pub async fn events(&self, uid: ExperimentUid, limit: i64) -> Result<Vec<Event>> {
        let rows = sqlx::query("SELECT * FROM events WHERE experiment_uid = $1 ORDER BY seq DESC LIMIT $2")
            .bind(uid.to_string())
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().rev().map(read).collect()
    }

    /// Up to `limit` events behind number `after`, oldest first.
    pub async fn events_after(&self, uid: ExperimentUid, after: i64, limit: i64) -> Result<Vec<Event>> {
        let rows = sqlx::query("SELECT * FROM events WHERE experiment_uid = $1 AND seq > $2 ORDER BY seq LIMIT $3")
            .bind(uid.to_string())
            .bind(after)
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(read).collect()
    }

    /// From which of its events on a reader can go on.
    pub async fn event_span(&self, uid: ExperimentUid) -> Result<Span> {
        let statement = "SELECT MIN(seq) AS first, MAX(seq) AS last FROM events WHERE experiment_uid = $1";
        let row = sqlx::query(statement).bind(uid.to_string()).fetch_one(&self.pool).await?;
        let (first, last) = (row.opt_int("first")?.unwrap_or(1), row.opt_int("last")?.unwrap_or(0));
        Ok(Span { compacted: first - 1, newest: last })
    }
}

fn read(row: &sqlx::any::AnyRow) -> Result<Event> {
    Ok(Event {
        seq: row.int("seq")?.cast_unsigned(),
        at: row.time("happened_at")?,
        kind: row.word("kind")?,
        who: row.text("who")?,
        reason: row.text("reason")?,
        message: row.text("message")?,
    })
}
