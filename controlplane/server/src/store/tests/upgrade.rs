//! A database of an earlier version comes along with all that it holds.

use em_api::spec::LoadLevel;
use sqlx::any::AnyPoolOptions;

use super::*;
use crate::admit::expand::Block;

/// The last version whose blocks and trials were rows of their own.
const ROWS: i64 = 11;

fn id(kind: u32, number: u32) -> String {
    format!("0{kind}{number:024}")
}

#[tokio::test]
async fn blocks_and_trials_that_were_rows_are_read_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let url = Base::fresh(folder.path()).await;
    sqlx::any::install_default_drivers();
    let pool = AnyPoolOptions::new().max_connections(1).connect(&url).await.unwrap();
    sqlx::migrate!("../../migrations").run_to(ROWS, &pool).await.unwrap();
    let (uid, shards, attempt) = (id(1, 0), [id(2, 0), id(2, 1)], id(3, 0));
    let mut rows = vec![format!(
        "INSERT INTO experiments VALUES ('{uid}', 'old', 'me', '{{}}', '{{}}', '{{}}', 1, 1, 0, 1, 1, 'Running', NULL, '[]', 60, 0, 0, 'now',
                                         NULL, NULL, NULL)"
    )];
    for (number, shard) in (0..).zip(&shards) {
        rows.push(format!("INSERT INTO shards VALUES ('{shard}', '{uid}', {number})"));
    }
    // Written in another order than they stand in.
    for number in [1, 0, 2] {
        let (block, shard) = (id(4, number), &shards[number as usize / 2]);
        let load = r#"{"concurrency":2}"#;
        rows.push(format!("INSERT INTO blocks VALUES ('{block}', '{shard}', '{uid}', {number}, 1, {}, '{load}')", 16 << number));
        for (ordinal, backend) in [(1, "b-2"), (0, "a")] {
            let trial = id(5, number * 2 + ordinal);
            rows.push(format!("INSERT INTO trials VALUES ('{trial}', '{block}', '{uid}', {ordinal}, '{backend}')"));
        }
    }
    let at = "2026-11-24T04:00:00.000000Z";
    rows.push(format!(
        "INSERT INTO attempts (id, experiment_uid, shard_id, number, job_name, token_sha256, created_at, revision, state, not_before, epoch,
                               log_bytes) VALUES ('{attempt}', '{uid}', '{}', 1, 'em-x', '', '{at}', 0, 'Intended', '{at}', 0, 0)",
        shards[0]
    ));
    rows.push(format!(
        "INSERT INTO measurements VALUES ('{}', '{attempt}', 0, 'hash', '{uid}', '{}', 1, 'measured', NULL, 'VALID', 12.5, '{at}', '{at}',
                                          '{at}', '{{}}')",
        id(5, 1),
        id(4, 0)
    ));
    for row in rows {
        sqlx::raw_sql(sqlx::AssertSqlSafe(row)).execute(&pool).await.unwrap();
    }
    pool.close().await;

    let parts = open(&url).await.parts(uid.parse().unwrap()).await.unwrap();
    let block = |number: u32| Block {
        id: id(4, number).parse().unwrap(),
        repetition: 1,
        batch_size: 16 << number,
        load: LoadLevel::Concurrency(2),
        trials: vec![
            ("a".to_owned(), id(5, number * 2).parse().unwrap()),
            ("b-2".to_owned(), id(5, number * 2 + 1).parse().unwrap()),
        ],
    };
    let found: Vec<_> = parts.shards.iter().map(|shard| (shard.id.to_string(), shard.blocks.clone())).collect();
    assert_eq!(found, [(id(2, 0), vec![block(0), block(1)]), (id(2, 1), vec![block(2)])]);
    assert_eq!((parts.attempts.len(), parts.handed.len()), (1, 1));
    assert_eq!(parts.handed[0].trial.to_string(), id(5, 1));
}
