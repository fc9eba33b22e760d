//! Experiments: create, read, change, delete. An acknowledgement follows the commit.

use std::collections::{BTreeMap, HashMap};

use em_api::experiment::{API_VERSION, Created, Experiment, KIND, Metadata};
use em_api::spec::Spec;
use em_api::status::{Condition, ConditionStatus, ConditionType, Phase, Status, TrialCounts};
use em_api::{ExperimentUid, Timestamp};
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::codec::{Columns, corrupt, json, spell, time};
use super::events::NewEvent;
use super::idempotency::{Kept, RequestKey};
use super::lists::values;
use super::{Error, Result, Store, Write, now, random_lowercase};
use crate::admit::expand::{Shard, expand};
use crate::admit::{Admitted, NameChoice};

/// The row of an experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub uid: ExperimentUid,
    pub name: String,
    pub owner: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub spec: Spec,
    pub generation: u64,
    pub observed_generation: u64,
    pub revision: i64,
    pub created_version: i64,
    pub resource_version: i64,
    pub phase: Phase,
    pub message: Option<String>,
    pub conditions: Vec<Condition>,
    /// Once it has ended: how its trials did, which does not change any more.
    pub trials: Option<TrialCounts>,
    pub estimated_seconds: u64,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub deleted_at: Option<Timestamp>,
}

#[derive(Clone, Debug)]
pub enum Creation {
    New(Experiment),
    /// An equal one was there.
    Existing(Experiment),
}

impl Store {
    /// Stores an admitted experiment with its whole matrix. Errors: [`Error::NameTaken`] when the name has another measured spec.
    pub async fn create_experiment(&self, admitted: &Admitted, owner: &str) -> Result<Creation> {
        let mut write = self.write().await?;
        match write.create(admitted, owner).await? {
            Made::New(experiment) => {
                self.commit(write).await?;
                Ok(Creation::New(experiment))
            }
            Made::Held(held) => {
                self.commit(write).await?;
                self.compare_with(held, admitted).await
            }
        }
    }

    /// The same under a key: a second request with it gets the first one's answer. Errors: also [`Error::KeyReused`].
    pub async fn create_once(&self, admitted: &Admitted, owner: &str, key: &RequestKey) -> Result<Kept> {
        let mut write = self.write().await?;
        if let Some(kept) = write.kept_answer(owner, key).await? {
            // It may be of the same group.
            self.commit(write).await?;
            return Ok(kept);
        }
        let answer =
            |experiment| Created { experiment, warnings: admitted.warnings.clone(), script: None, trials: Vec::new(), plan: None };
        match write.create(admitted, owner).await? {
            Made::New(experiment) => {
                let kept = Kept { new: true, answer: answer(experiment) };
                write.keep_answer(owner, key, &kept).await?;
                self.commit(write).await?;
                Ok(kept)
            }
            Made::Held(held) => {
                self.commit(write).await?;
                let (Creation::New(found) | Creation::Existing(found)) = self.compare_with(held, admitted).await?;
                self.keep_found(owner, key, answer(found)).await
            }
        }
    }

    async fn compare_with(&self, held: Stored, admitted: &Admitted) -> Result<Creation> {
        if held.deleted_at.is_some() {
            return Err(Error::BeingDeleted(held.name));
        }
        let equal = measured(&held.spec) == measured(&admitted.spec);
        let experiment = self.complete(held).await?;
        if equal { Ok(Creation::Existing(experiment)) } else { Err(Error::NameTaken(Box::new(experiment))) }
    }

    /// What would be stored; nothing is.
    pub fn preview(admitted: &Admitted, owner: &str) -> Experiment {
        let name = match &admitted.name {
            NameChoice::Given(name) => name.clone(),
            NameChoice::Generate(prefix) => format!("{prefix}{}", random_lowercase(5)),
        };
        untouched(fresh(admitted, name, owner, 0), &expand(&admitted.spec))
    }

    pub async fn experiment(&self, name: &str) -> Result<Experiment> {
        self.complete(self.stored(name).await?).await
    }

    /// The row alone: for answers that need no counts.
    pub async fn stored(&self, name: &str) -> Result<Stored> {
        let row = sqlx::query("SELECT * FROM experiments WHERE name = $1").bind(name.to_owned()).fetch_optional(&self.pool).await?;
        read(&row.ok_or_else(|| Error::NotFound(format!("experiment {name}")))?)
    }

    /// How many experiments are in each phase, of those that have ended and need nothing.
    pub async fn settled_counts(&self) -> Result<HashMap<Phase, i64>> {
        let rows = sqlx::query("SELECT phase, COUNT(*) AS n FROM experiments WHERE settled = 1 GROUP BY phase")
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| Ok((row.word("phase")?, row.int("n")?))).collect()
    }
}

enum Made {
    New(Experiment),
    /// The name is taken; nothing was written.
    Held(Stored),
}

/// The spec without what may change later: equal texts are the same measurement.
pub fn measured(spec: &Spec) -> String {
    let mut spec = spec.clone();
    (spec.desired, spec.retries, spec.priority) = (em_api::spec::Desired::Run, 0, 0);
    (spec.ttl, spec.logs_ttl) = (None, em_api::HumanDuration::default());
    json(&spec)
}

impl Stored {
    pub(super) fn with_status(self, status: Status) -> Experiment {
        Experiment {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            metadata: Metadata {
                name: self.name,
                labels: self.labels,
                annotations: self.annotations,
                uid: self.uid,
                owner: self.owner,
                resource_version: self.resource_version.cast_unsigned(),
                generation: self.generation,
                created_at: self.created_at,
                deleted_at: self.deleted_at,
            },
            spec: self.spec,
            status,
        }
    }
}

pub(super) fn fresh(admitted: &Admitted, name: String, owner: &str, version: i64) -> Stored {
    let at = now();
    let accepted = Condition {
        kind: ConditionType::Accepted,
        status: ConditionStatus::True,
        reason: "Valid".to_owned(),
        message: "the experiment is valid".to_owned(),
        last_transition_time: at,
    };
    Stored {
        uid: ExperimentUid::generate(),
        name,
        owner: owner.to_owned(),
        labels: admitted.labels.clone(),
        annotations: admitted.annotations.clone(),
        spec: admitted.spec.clone(),
        generation: 1,
        observed_generation: 0,
        revision: 0,
        created_version: version,
        resource_version: version,
        phase: Phase::Pending,
        message: None,
        conditions: vec![accepted],
        trials: None,
        estimated_seconds: admitted.estimated_seconds,
        created_at: at,
        started_at: None,
        finished_at: None,
        deleted_at: None,
    }
}

/// As users see it before anything happened to it.
fn untouched(stored: Stored, shards: &[Shard]) -> Experiment {
    let trials = shards.iter().flat_map(|shard| &shard.blocks).map(|block| block.trials.len() as u64).sum();
    let status = Status {
        phase: stored.phase,
        observed_generation: stored.observed_generation,
        message: None,
        conditions: stored.conditions.clone(),
        trials: TrialCounts { total: trials, pending: trials, ..TrialCounts::default() },
        jobs: Vec::new(),
        live: None,
        estimated_seconds: Some(stored.estimated_seconds),
        started_at: None,
        finished_at: None,
    };
    stored.with_status(status)
}

pub(super) async fn insert(write: &mut Write, stored: &Stored) -> Result<()> {
    sqlx::query(
        "INSERT INTO experiments (uid, name, owner, labels, annotations, spec, generation, observed_generation, revision,
                                  created_version, resource_version, phase, conditions, estimated_seconds, log_position, settled,
                                  created_at)
         VALUES ($1, $2, $3, $4, $5, $6, 1, 0, 0, $7, $7, $8, $9, $10, 0, 0, $11)",
    )
    .bind(stored.uid.to_string())
    .bind(stored.name.clone())
    .bind(stored.owner.clone())
    .bind(json(&stored.labels))
    .bind(json(&stored.annotations))
    .bind(json(&stored.spec))
    .bind(stored.resource_version)
    .bind(spell(&stored.phase))
    .bind(json(&stored.conditions))
    .bind(stored.estimated_seconds.cast_signed())
    .bind(time(stored.created_at))
    .execute(&mut *write.tx)
    .await?;
    Ok(())
}

/// Shards in one statement: the parameters of more would be too many for SQLite.
const SHARDS_AT_ONCE: usize = 500;

/// All shards of an experiment, in their order.
pub(super) async fn insert_shards(write: &mut Write, uid: ExperimentUid, shards: &[Shard]) -> Result<()> {
    for (part, shards) in (0_i64..).zip(shards.chunks(SHARDS_AT_ONCE)) {
        let statement = values("INSERT INTO shards (id, experiment_uid, ordinal, blocks) VALUES", 4, shards.len());
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for (ordinal, shard) in (part * SHARDS_AT_ONCE as i64..).zip(shards) {
            query = query.bind(shard.id.to_string()).bind(uid.to_string()).bind(ordinal).bind(json(&shard.blocks));
        }
        query.execute(&mut *write.tx).await?;
    }
    Ok(())
}

impl Write {
    async fn create(&mut self, admitted: &Admitted, owner: &str) -> Result<Made> {
        let name = match &admitted.name {
            NameChoice::Generate(prefix) => self.free_name(prefix).await?,
            NameChoice::Given(name) => match self.by_name(name).await? {
                Some(held) => return Ok(Made::Held(held)),
                None => name.clone(),
            },
        };
        let version = self.version().await?;
        let stored = fresh(admitted, name, owner, version);
        let shards = expand(&stored.spec);
        insert(self, &stored).await?;
        insert_shards(self, stored.uid, &shards).await?;
        let what = format!("accepted; estimated run time {} s", stored.estimated_seconds);
        self.first_event(stored.uid, stored.created_at, &NewEvent::normal(format!("user:{owner}"), "Accepted", what)).await?;
        self.wake = true;
        Ok(Made::New(untouched(stored, &shards)))
    }

    pub(super) async fn by_name(&mut self, name: &str) -> Result<Option<Stored>> {
        let row =
            sqlx::query("SELECT * FROM experiments WHERE name = $1").bind(name.to_owned()).fetch_optional(&mut *self.tx).await?;
        row.as_ref().map(read).transpose()
    }

    async fn free_name(&mut self, prefix: &str) -> Result<String> {
        loop {
            let name = format!("{prefix}{}", random_lowercase(5));
            if self.by_name(&name).await?.is_none() {
                return Ok(name);
            }
        }
    }
}

pub(super) fn read(row: &AnyRow) -> Result<Stored> {
    Ok(Stored {
        uid: row.parsed("uid")?,
        name: row.text("name")?,
        owner: row.text("owner")?,
        labels: row.read_json("labels")?,
        annotations: row.read_json("annotations")?,
        spec: row.read_json("spec")?,
        generation: row.int("generation")?.cast_unsigned(),
        observed_generation: row.int("observed_generation")?.cast_unsigned(),
        revision: row.int("revision")?,
        created_version: row.int("created_version")?,
        resource_version: row.int("resource_version")?,
        phase: row.word("phase")?,
        message: row.opt_text("message")?,
        conditions: row.read_json("conditions")?,
        trials: row
            .opt_text("trials")?
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|source| corrupt("trials", source))?,
        estimated_seconds: row.int("estimated_seconds")?.cast_unsigned(),
        created_at: row.time("created_at")?,
        started_at: row.opt_time("started_at")?,
        finished_at: row.opt_time("finished_at")?,
        deleted_at: row.opt_time("deleted_at")?,
    })
}
