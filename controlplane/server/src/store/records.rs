//! The agents' streams: what people read is kept as lines, what is only the latest state replaces the one before. A record that
//! comes twice is stored once.

use em_api::agent::{Directive, Record, RecordBody};
use em_api::status::{Live, LogLine};
use em_api::{AttemptId, ExperimentUid, Timestamp, TrialId};

use super::attempts::Attempt;
use super::codec::{Columns, ago, json, plain, time};
use super::handed_in::DELIVERY_AFTER_END_S;
use super::{Result, Store, Write, now};

/// Log bytes kept of one attempt; what comes after is counted, not kept.
const LOG_BYTES_MAX: i64 = 16 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOutcome {
    Stored(Directive),
    /// Another epoch holds the claim, or nobody does, or the time to deliver is over.
    Fenced,
}

impl Store {
    /// Appends a batch; an empty one is a heartbeat.
    pub async fn append_records(&self, attempt: AttemptId, epoch: u32, records: &[Record]) -> Result<AppendOutcome> {
        let mut write = self.write().await?;
        let (attempt, directive) = write.attempt_and_directive(attempt).await?;
        let in_time = attempt.end().is_none_or(|(_, at)| at > ago(now(), DELIVERY_AFTER_END_S));
        if !in_time || attempt.claim.as_ref().is_none_or(|claim| claim.epoch != epoch) {
            self.commit(write).await?;
            return Ok(AppendOutcome::Fenced);
        }
        write.append(&attempt, epoch, records).await?;
        sqlx::query("UPDATE attempts SET last_heard_at = $1 WHERE id = $2")
            .bind(time(now()))
            .bind(attempt.id.to_string())
            .execute(&mut *write.tx)
            .await?;
        self.commit(write).await?;
        Ok(AppendOutcome::Stored(directive))
    }

    /// Takes records in from the job directory, of whatever epoch.
    pub async fn import_records(&self, attempt: AttemptId, epoch: u32, records: &[Record]) -> Result<()> {
        let mut write = self.write().await?;
        let (attempt, _) = write.attempt_and_directive(attempt).await?;
        write.append(&attempt, epoch, records).await?;
        self.commit(write).await
    }

    /// Lines behind position `after`, oldest first, at most `limit`.
    pub async fn log_lines(&self, uid: ExperimentUid, after: i64, limit: i64) -> Result<Vec<LogLine>> {
        let rows = sqlx::query("SELECT * FROM records WHERE experiment_uid = $1 AND position > $2 ORDER BY position LIMIT $3")
            .bind(uid.to_string())
            .bind(after)
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(LogLine {
                    seq: row.int("position")?.cast_unsigned(),
                    at: row.time("recorded_at")?,
                    stream: row.text("stream")?,
                    backend: row.opt_text("backend")?,
                    trial: row.opt_parsed("trial_id")?,
                    line: row.text("line")?,
                })
            })
            .collect()
    }
}

/// A record that is kept as a line.
struct Line<'a> {
    stream: &'a str,
    backend: Option<&'a str>,
    trial: Option<TrialId>,
    text: String,
}

impl Write {
    async fn append(&mut self, attempt: &Attempt, epoch: u32, records: &[Record]) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        self.touch(attempt.experiment).await?;
        let (mut live, mut live_changed) = (attempt.live.clone(), false);
        let mut lines = Vec::new();
        for record in records {
            match &record.body {
                RecordBody::Phase { phase, message, trial, backend } => {
                    live_changed |= enter_phase(&mut live, record.at, phase.describe(), *trial, backend.as_deref());
                    let text =
                        if message.is_empty() { phase.describe().to_owned() } else { format!("{}: {message}", phase.describe()) };
                    lines.push((record, Line { stream: "agent", backend: backend.as_deref(), trial: *trial, text }));
                }
                RecordBody::Log { stream, trial, backend, line } => {
                    lines.push((record, Line { stream, backend: backend.as_deref(), trial: *trial, text: line.clone() }));
                }
                RecordBody::Sample(sample) => live_changed |= take_sample(&mut live, record.at, sample),
                RecordBody::Parity(vectors) => self.keep_parity(attempt, epoch, record.seq, vectors).await?,
                RecordBody::Exposition { text } => self.keep_exposition(attempt, epoch, record.seq, text).await?,
                RecordBody::Farewell { message } => {
                    // An older epoch's good-bye, found in the spool, says nothing about the one that runs.
                    if attempt.claim.as_ref().is_none_or(|claim| claim.epoch == epoch) {
                        self.farewell(attempt, record.at).await?;
                    }
                    lines
                        .push((record, Line { stream: "agent", backend: None, trial: None, text: format!("farewell: {message}") }));
                }
            }
        }
        self.keep_lines(attempt, epoch, &lines).await?;
        if let Some(live) = live.filter(|_| live_changed) {
            sqlx::query("UPDATE attempts SET live = $1 WHERE id = $2")
                .bind(json(&live))
                .bind(attempt.id.to_string())
                .execute(&mut *self.tx)
                .await?;
        }
        Ok(())
    }

    async fn keep_lines(&mut self, attempt: &Attempt, epoch: u32, lines: &[(&Record, Line<'_>)]) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let bytes: i64 = sqlx::query_scalar("SELECT log_bytes FROM attempts WHERE id = $1")
            .bind(attempt.id.to_string())
            .fetch_one(&mut *self.tx)
            .await?;
        let last: i64 =
            sqlx::query_scalar("UPDATE experiments SET log_position = log_position + $1 WHERE uid = $2 RETURNING log_position")
                .bind(i64::try_from(lines.len()).unwrap_or(i64::MAX))
                .bind(attempt.experiment.to_string())
                .fetch_one(&mut *self.tx)
                .await?;
        let (mut position, mut total) = (last - i64::try_from(lines.len()).unwrap_or(0), bytes);
        for (record, line) in lines {
            position += 1;
            let size = i64::try_from(line.text.len()).unwrap_or(i64::MAX);
            if total >= LOG_BYTES_MAX {
                break;
            }
            let full = total.saturating_add(size) >= LOG_BYTES_MAX;
            let text =
                if full { "log limit of this job reached; the rest is in its job directory".to_owned() } else { plain(&line.text) };
            let inserted = sqlx::query(
                "INSERT INTO records (attempt_id, epoch, seq, experiment_uid, position, recorded_at, stream, backend, trial_id, line)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (attempt_id, epoch, seq) DO NOTHING",
            )
            .bind(attempt.id.to_string())
            .bind(i64::from(epoch))
            .bind(record.seq.cast_signed())
            .bind(attempt.experiment.to_string())
            .bind(position)
            .bind(time(record.at))
            .bind(plain(line.stream))
            .bind(line.backend.map(plain))
            .bind(line.trial.map(|trial| trial.to_string()))
            .bind(text)
            .execute(&mut *self.tx)
            .await?;
            if inserted.rows_affected() == 1 {
                total = if full { LOG_BYTES_MAX } else { total + size };
            }
        }
        sqlx::query("UPDATE attempts SET log_bytes = $1 WHERE id = $2")
            .bind(total)
            .bind(attempt.id.to_string())
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    async fn farewell(&mut self, attempt: &Attempt, at: Timestamp) -> Result<()> {
        sqlx::query("UPDATE attempts SET farewell_at = $1 WHERE id = $2 AND farewell_at IS NULL")
            .bind(time(at))
            .bind(attempt.id.to_string())
            .execute(&mut *self.tx)
            .await?;
        self.wake = true;
        Ok(())
    }
}

fn enter_phase(live: &mut Option<Live>, at: Timestamp, phase: &str, trial: Option<TrialId>, backend: Option<&str>) -> bool {
    if live.as_ref().is_some_and(|live| live.at > at) {
        return false;
    }
    *live = Some(Live {
        at,
        phase: phase.to_owned(),
        trial,
        backend: backend.map(str::to_owned),
        batch_size: None,
        texts_per_second: None,
        latency_p50_ms: None,
        latency_p99_ms: None,
        cpu_cores: None,
        memory_bytes: None,
        gpu_utilization: None,
        seconds_left: None,
    });
    true
}

fn take_sample(live: &mut Option<Live>, at: Timestamp, sample: &em_api::agent::Sample) -> bool {
    let Some(live) = live.as_mut().filter(|live| live.at <= at) else { return false };
    live.at = at;
    live.trial = Some(sample.trial);
    live.texts_per_second = Some(sample.texts_per_s);
    live.latency_p50_ms = sample.p50_ms;
    live.latency_p99_ms = sample.p99_ms;
    live.cpu_cores = sample.cpu_cores;
    live.memory_bytes = sample.memory_bytes;
    live.gpu_utilization = sample.gpu_utilization;
    true
}
