//! A database of 100,000 experiments, filled by SQL from one that the server itself has created. 1,000 of them are active, each with
//! a claimed job and half of its trials measured; 9,000 of the ended ones have all their trials measured, the others only rows of
//! their own and of their jobs: with 27 measurements each, filling would take longer than the bench.

use std::path::Path;

use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

pub(crate) const EXPERIMENTS: u32 = 100_000;
pub(crate) const ACTIVE: u32 = 1_000;
/// Active ones first, then ended ones.
pub(crate) const MEASURED: u32 = 10_000;
const TRIALS: u32 = 27;

/// `template` stands in the database and is never seen again.
pub(crate) async fn fill(state_dir: &Path, template: &str) {
    let url = format!("sqlite://{}", state_dir.join("em.db").display());
    let mut db = SqliteConnection::connect(&url).await.expect("the server's database");
    // Identifiers are 26 characters of Crockford's alphabet; digits will do.
    let id = |kind: u32, number: &str| format!("printf('0{kind}%024d', {number})");
    let numbers = format!("WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {EXPERIMENTS})");
    let ended = format!("n.i >= {ACTIVE}");
    let attempt_columns = "id, experiment_uid, shard_id, number, job_name, token_sha256, created_at, revision, state, job_id, slurm_state, \
                           job_node, restarts, submitted_at, started_at, over_at, outcome, spool_read, ended_at, end_kind, end_reason, \
                           end_message, claim_job_id, epoch, restart_count, boot_nonce, claim_node, claimed_at, last_heard_at, log_bytes";
    let only_ended = |value: &str| format!("CASE WHEN {ended} THEN {value} END");
    let statements = [
        "PRAGMA synchronous = OFF".to_owned(),
        "BEGIN".to_owned(),
        format!(
            "INSERT INTO experiments (uid, name, owner, labels, annotations, spec, generation, observed_generation, revision, created_version,
                 resource_version, phase, message, conditions, estimated_seconds, log_position, settled, created_at, started_at, finished_at, trials)
             {numbers}
             SELECT {uid}, printf('e-%06d', n.i), e.owner, e.labels, e.annotations, e.spec, 1, 1, 3, n.i + 1000, n.i + 1000,
                 CASE WHEN {ended} THEN 'Succeeded' ELSE 'Running' END, NULL, e.conditions, e.estimated_seconds, 0, {ended},
                 e.created_at, e.created_at, {finished}, {counts}
             FROM n CROSS JOIN experiments e WHERE e.name = '{template}'",
            uid = id(1, "n.i"),
            finished = only_ended("e.created_at"),
            counts = only_ended(&format!(
                "printf('{{\"total\":{TRIALS},\"pending\":%d,\"running\":0,\"succeeded\":%d,\"failed\":0,\"interrupted\":0,\"invalid\":0,\
                 \"inconclusive\":0}}', CASE WHEN n.i < {MEASURED} THEN 0 ELSE {TRIALS} END, CASE WHEN n.i < {MEASURED} THEN {TRIALS} ELSE 0 END)"
            )),
        ),
        format!(
            "INSERT INTO shards (id, experiment_uid, ordinal, blocks)
             {numbers} SELECT {shard}, {uid}, 0, s.blocks
             FROM n CROSS JOIN experiments e JOIN shards s ON s.experiment_uid = e.uid WHERE e.name = '{template}'",
            shard = id(2, "n.i"),
            uid = id(1, "n.i"),
        ),
        format!(
            "INSERT INTO attempts ({attempt_columns})
             {numbers}
             SELECT {attempt}, {uid}, {shard}, 1, printf('em-bench-%024d', n.i), 'none', e.created_at, 3,
                 CASE WHEN {ended} THEN 'Ended' ELSE 'Submitted' END, n.i + 1, CASE WHEN {ended} THEN 'COMPLETED' ELSE 'RUNNING' END,
                 'node1', 0, e.created_at, e.created_at, {at}, {outcome}, {one}, {at}, {kind}, {reason}, {message},
                 n.i + 1, 0, 0, 'nonce', 'node1', e.created_at, e.created_at, 1000
             FROM n CROSS JOIN experiments e WHERE e.name = '{template}'",
            attempt = id(3, "n.i"),
            uid = id(1, "n.i"),
            shard = id(2, "n.i"),
            at = only_ended("e.created_at"),
            outcome = only_ended("'Completed'"),
            one = only_ended("1"),
            kind = only_ended("'Completed'"),
            reason = only_ended("'Completed'"),
            message = only_ended("'all trials are done'"),
        ),
        // Trials keep the template's identifiers: they are looked for only below their experiment.
        format!(
            "INSERT INTO measurements (trial_id, attempt_id, epoch, sha256, experiment_uid, block_id, accepted, outcome, verdict,
                 texts_per_second, started_at, finished_at, received_at, body)
             WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {MEASURED}),
                  t (ordinal, trial, block) AS (
                      SELECT ROW_NUMBER() OVER () - 1, json_extract(trial.value, '$[1]'), json_extract(block.value, '$.id')
                      FROM experiments e JOIN shards s ON s.experiment_uid = e.uid, json_each(s.blocks) block,
                           json_each(block.value, '$.trials') trial
                      WHERE e.name = '{template}')
             SELECT t.trial, {attempt}, 0, 'hash', {uid}, t.block, 1, 'measured', 'VALID', 1600.0, e.created_at, e.created_at,
                 e.created_at, '{{}}'
             FROM n CROSS JOIN t CROSS JOIN experiments e
             WHERE e.name = '{template}' AND (n.i >= {ACTIVE} OR t.ordinal < {half})",
            attempt = id(3, "n.i"),
            uid = id(1, "n.i"),
            half = TRIALS / 2,
        ),
        format!("UPDATE counters SET value = {} WHERE name = 'resource_version'", EXPERIMENTS + 1000),
        format!("DELETE FROM experiments WHERE name = '{template}'"),
        "COMMIT".to_owned(),
        "PRAGMA wal_checkpoint(TRUNCATE)".to_owned(),
    ];
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut db).await.expect("filling the database");
    }
    db.close().await.expect("closing the database");
}
