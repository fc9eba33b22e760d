//! The store on a real SQLite file and on a real PostgreSQL: one text, compiled once for each. Builders here; each test opens a
//! database of its own.

#![expect(clippy::unwrap_used, reason = "tests")]

/// Tests that hold on every database. In each, `Base` is the one at hand.
macro_rules! suites {
    ($database:ident) => {
        use super::*;

        type Base = On<$database>;

        mod claims;
        mod creation;
        mod groups;
        mod measurements;
        mod records;
        mod repeats;
        mod stale;
        mod upgrade;
        mod upkeep;
        mod watch;
        mod writers;
    };
}

#[path = "."]
mod on_sqlite {
    suites!(Sqlite);
}

#[path = "."]
#[expect(clippy::duplicate_mod, reason = "the same tests, on the other database")]
mod on_postgres {
    suites!(Postgres);
}

mod plans;
#[path = "../../../tests/it/postgres.rs"]
mod postgres;

use std::marker::PhantomData;
use std::path::Path;

use em_api::AttemptId;
use em_api::agent::{ClaimRequest, Record, RecordBody};
use em_api::measurement::Measurement;
use serde_json::{Value, json};

use super::attempts::{AttemptState, SlurmJob, Submitted};
use super::claims::ClaimOutcome;
use super::experiments::{Creation, Stored};
use super::trials::TrialRow;
use super::{Error, Store, now};
use crate::admit::{Admitted, admit};

struct On<D> {
    store: Store,
    url: String,
    _folder: tempfile::TempDir,
    database: PhantomData<D>,
}

trait Database {
    /// The address of an empty database; it may live in the folder.
    async fn fresh(folder: &Path) -> String;
}

struct Sqlite;

impl Database for Sqlite {
    async fn fresh(folder: &Path) -> String {
        Store::sqlite_url(folder)
    }
}

struct Postgres;

impl Database for Postgres {
    async fn fresh(_: &Path) -> String {
        postgres::fresh_schema().await
    }
}

impl<D: Database> On<D> {
    async fn fresh(folder: &Path) -> String {
        D::fresh(folder).await
    }

    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = D::fresh(folder.path()).await;
        Self { store: open(&url).await, url, _folder: folder, database: PhantomData }
    }

    /// An experiment with one attempt whose job is 7.
    async fn with_job(name: &str) -> (Self, Stored, AttemptId) {
        let base = Self::open().await;
        let stored = base.create(name).await;
        let attempt = base.attempt(&stored).await;
        (base, stored, attempt)
    }

    async fn create(&self, name: &str) -> Stored {
        self.store.create_experiment(&admitted(&body(name)), "me").await.unwrap();
        self.store.stored(name).await.unwrap()
    }

    async fn attempt(&self, stored: &Stored) -> AttemptId {
        let shard = self.store.matrix(stored.uid).await.unwrap()[0].shard;
        let id = self.store.create_attempt(stored.uid, shard, 1, now()).await.unwrap();
        let job = SlurmJob { id: "7".to_owned(), ..SlurmJob::default() };
        let state = AttemptState::Submitted(Submitted { job, missing_since: None, cancel: None, over: None });
        self.store.save_attempt(id, 0, &state, None).await.unwrap();
        id
    }

    /// Claims for job 7; the epoch.
    async fn claim(&self, attempt: AttemptId, nonce: &str, restart_count: u32) -> Option<u32> {
        match self.store.claim(&request(attempt, "7", nonce, restart_count)).await.unwrap() {
            ClaimOutcome::Granted(answer) => Some(answer.epoch),
            ClaimOutcome::Taken { .. } | ClaimOutcome::Over => None,
        }
    }

    /// A made-up measurement of a trial of the matrix.
    async fn measurement(&self, stored: &Stored, trial: usize, attempt: AttemptId) -> Measurement {
        let row = self.store.matrix(stored.uid).await.unwrap().remove(trial);
        measured(&row, attempt)
    }

    async fn count(&self, statement: &'static str) -> i64 {
        sqlx::query_scalar(statement).fetch_one(&self.store.pool).await.unwrap()
    }
}

async fn open(url: &str) -> Store {
    Store::open(url, crate::metrics::Metrics::new().db_commit_seconds).await.unwrap()
}

fn measured(row: &TrialRow, attempt: AttemptId) -> Measurement {
    Measurement {
        trial: row.id,
        block: row.block,
        attempt,
        load: row.load,
        ..crate::results::fixture::trial(&row.backend, row.batch_size, row.repetition, 100)
    }
}

fn request(attempt: AttemptId, job_id: &str, nonce: &str, restart_count: u32) -> ClaimRequest {
    ClaimRequest { attempt, restart_count, ..super::testing::claim_request(job_id, nonce) }
}

fn log(seq: u64, line: &str) -> Record {
    let body = RecordBody::Log { stream: "agent".to_owned(), trial: None, backend: None, line: line.to_owned() };
    Record { seq, at: now(), body }
}

/// Two backends × one batch size × two repetitions.
fn body(name: &str) -> Value {
    json!({
        "apiVersion": "em/v1alpha1", "kind": "Experiment", "metadata": {"name": name},
        "spec": {
            "model": {"id": "sentence-transformers/all-MiniLM-L6-v2"},
            "dataset": {"source": "wordnet", "limit": 1000},
            "backends": [{"name": "a", "type": "ort", "device": "cpu"}, {"name": "b", "type": "ort", "device": "cpu"}],
            "matrix": {"batchSizes": [16], "concurrency": [2]},
            "load": {"duration": "10s", "warmup": "1s", "repetitions": 2, "minRequests": 10},
            "slurm": {"time": "1h"}
        }
    })
}

fn admitted(body: &Value) -> Admitted {
    admit(body).unwrap()
}
