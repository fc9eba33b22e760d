//! An attempt: our record of one Slurm job. Its state holds the data that the state has, so nobody unwraps a job id.

use em_api::status::Live;
use em_api::{AttemptId, ExperimentUid, ShardId, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::codec::{Columns, corrupt};
use super::{Error, Result, Store};

#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    pub id: AttemptId,
    pub experiment: ExperimentUid,
    pub shard: ShardId,
    /// 1 for the first job of a shard.
    pub number: u32,
    pub job_name: String,
    pub created_at: Timestamp,
    /// Grows with each change of `state` or `claim`; writes are refused when it has grown.
    pub revision: i64,
    pub state: AttemptState,
    /// Second jobs of this attempt, which are being cancelled: they may not claim.
    pub refused_jobs: Vec<String>,
    /// Who executes it; set by the claim.
    pub claim: Option<Claim>,
    pub last_heard_at: Option<Timestamp>,
    /// The agent said good-bye in the claimed epoch.
    pub farewell_at: Option<Timestamp>,
    pub live: Option<Live>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum AttemptState {
    /// The intent is stored; `sbatch` has done nothing yet, for certain.
    Intended {
        not_before: Timestamp,
    },
    /// `sbatch` may have been started: the job may exist, under our name.
    Submitting {
        since: Timestamp,
    },
    /// Slurm has (or had) the job.
    Submitted(Submitted),
    Ended {
        at: Timestamp,
        end: End,
        job: Option<SlurmJob>,
        over: Option<Over>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Submitted {
    pub job: SlurmJob,
    /// Since when the listing lacks the job. Alone that says nothing.
    pub missing_since: Option<Timestamp>,
    pub cancel: Option<Cancel>,
    pub over: Option<Over>,
}

/// What Slurm said of the job; words as they came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SlurmJob {
    pub id: String,
    pub cluster: Option<String>,
    pub state: Option<String>,
    pub reason: Option<String>,
    pub node: Option<String>,
    /// How often Slurm started it again under the same id.
    pub restarts: Option<u32>,
    pub submitted_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub expected_start: Option<Timestamp>,
    pub ends_at: Option<Timestamp>,
}

/// `scancel` was called.
#[derive(Clone, Debug, PartialEq)]
pub struct Cancel {
    /// The first time.
    pub since: Timestamp,
    /// The last time.
    pub sent_at: Timestamp,
    pub why: CancelWhy,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CancelWhy {
    /// The user wants it cancelled, suspended or deleted.
    Desired,
    /// Its pending reason can never be met.
    NeverStarts,
}

/// The job is over, by Slurm's word, by its witness file, or because every source was silent for too long.
#[derive(Clone, Debug, PartialEq)]
pub struct Over {
    pub at: Timestamp,
    pub outcome: JobOutcome,
    pub exit_code: Option<i32>,
    /// What the agent left in the job directory was taken in.
    pub spool_read: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobOutcome {
    Completed,
    Failed,
    OutOfMemory,
    TimeLimit,
    Preempted,
    NodeFailed,
    Cancelled,
    Vanished,
}

/// Why an attempt ended, and what follows from it for its shard.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    pub kind: EndKind,
    /// CamelCase word for programs.
    pub reason: String,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndKind {
    /// Every block of its plan is finished.
    Completed,
    /// Unfinished blocks again; spends one of `retries`.
    Retry,
    /// Unfinished blocks again; spends one of `maxContinuations`.
    Continuation,
    /// The shard is given up.
    Closed,
    /// The user's wish.
    Cancelled,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    pub job_id: String,
    pub epoch: u32,
    pub restart_count: u32,
    pub boot_nonce: String,
    pub node: String,
    pub at: Timestamp,
}

impl Attempt {
    pub fn ended(&self) -> bool {
        matches!(self.state, AttemptState::Ended { .. })
    }

    pub fn job(&self) -> Option<&SlurmJob> {
        match &self.state {
            AttemptState::Submitted(submitted) => Some(&submitted.job),
            AttemptState::Ended { job, .. } => job.as_ref(),
            AttemptState::Intended { .. } | AttemptState::Submitting { .. } => None,
        }
    }

    pub fn end(&self) -> Option<(&End, Timestamp)> {
        match &self.state {
            AttemptState::Ended { end, at, .. } => Some((end, *at)),
            _ => None,
        }
    }
}

impl Store {
    /// All attempts of an experiment, oldest first.
    pub async fn attempts(&self, uid: ExperimentUid) -> Result<Vec<Attempt>> {
        Ok(self.parts(uid).await?.attempts)
    }

    pub async fn attempt(&self, id: AttemptId) -> Result<Attempt> {
        let row = sqlx::query("SELECT * FROM attempts WHERE id = $1").bind(id.to_string()).fetch_optional(&self.pool).await?;
        read(&row.ok_or_else(|| Error::NotFound(format!("attempt {id}")))?)
    }
}

pub(super) fn read(row: &AnyRow) -> Result<Attempt> {
    Ok(Attempt {
        id: row.parsed("id")?,
        experiment: row.parsed("experiment_uid")?,
        shard: row.parsed("shard_id")?,
        number: row.count("number")?,
        job_name: row.text("job_name")?,
        created_at: row.time("created_at")?,
        revision: row.int("revision")?,
        state: state(row)?,
        refused_jobs: row.opt_text("refused_jobs")?.unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
        claim: claim(row)?,
        last_heard_at: row.opt_time("last_heard_at")?,
        farewell_at: row.opt_time("farewell_at")?,
        live: row
            .opt_text("live")?
            .map(|text| serde_json::from_str(&text).map_err(|source| corrupt("live", source)))
            .transpose()?,
    })
}

fn state(row: &AnyRow) -> Result<AttemptState> {
    Ok(match row.try_get::<&str, _>("state")? {
        "Intended" => AttemptState::Intended { not_before: row.time("not_before")? },
        "Submitting" => AttemptState::Submitting { since: row.time("submitting_at")? },
        "Submitted" => AttemptState::Submitted(Submitted {
            job: job(row)?
                .ok_or_else(|| Error::Corrupt { column: "job_id".to_owned(), source: "a submitted job without id".into() })?,
            missing_since: row.opt_time("missing_since")?,
            cancel: cancel(row)?,
            over: over(row)?,
        }),
        "Ended" => AttemptState::Ended {
            at: row.time("ended_at")?,
            end: End { kind: row.word("end_kind")?, reason: row.text("end_reason")?, message: row.text("end_message")? },
            job: job(row)?,
            over: over(row)?,
        },
        other => {
            let source = format!("`{other}` is no state of an attempt").into();
            return Err(Error::Corrupt { column: "state".to_owned(), source });
        }
    })
}

fn job(row: &AnyRow) -> Result<Option<SlurmJob>> {
    let Some(id) = row.opt_text("job_id")? else { return Ok(None) };
    Ok(Some(SlurmJob {
        id,
        cluster: row.opt_text("cluster")?,
        state: row.opt_text("slurm_state")?,
        reason: row.opt_text("slurm_reason")?,
        node: row.opt_text("job_node")?,
        restarts: row.opt_int("restarts")?.and_then(|restarts| u32::try_from(restarts).ok()),
        submitted_at: row.opt_time("submitted_at")?,
        started_at: row.opt_time("started_at")?,
        expected_start: row.opt_time("expected_start")?,
        ends_at: row.opt_time("ends_at")?,
    }))
}

fn cancel(row: &AnyRow) -> Result<Option<Cancel>> {
    let Some(sent_at) = row.opt_time("cancel_sent_at")? else { return Ok(None) };
    // An earlier version kept the last time alone.
    let since = row.opt_time("cancel_since")?.unwrap_or(sent_at);
    let message = row.opt_text("cancel_message")?.unwrap_or_default();
    Ok(Some(Cancel { since, sent_at, why: row.word("cancel_reason")?, message }))
}

fn over(row: &AnyRow) -> Result<Option<Over>> {
    let Some(at) = row.opt_time("over_at")? else { return Ok(None) };
    let exit_code = row.opt_int("exit_code")?.and_then(|code| i32::try_from(code).ok());
    let spool_read = row.opt_int("spool_read")? == Some(1);
    Ok(Some(Over { at, outcome: row.word("outcome")?, exit_code, spool_read }))
}

fn claim(row: &AnyRow) -> Result<Option<Claim>> {
    let Some(boot_nonce) = row.opt_text("boot_nonce")? else { return Ok(None) };
    Ok(Some(Claim {
        job_id: row.text("claim_job_id")?,
        epoch: row.count("epoch")?,
        restart_count: row.count("restart_count")?,
        boot_nonce,
        node: row.text("claim_node")?,
        at: row.time("claimed_at")?,
    }))
}
