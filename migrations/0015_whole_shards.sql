-- What a shard holds never changes and is always read as a whole: one text (blocks with their trials, as JSON) in place of a row for
-- each block and trial. An experiment of 27 trials is one row here, not 37.
ALTER TABLE shards ADD COLUMN blocks TEXT NOT NULL DEFAULT '[]';

UPDATE shards SET blocks = (
    SELECT '[' || string_agg(
        '{"id":"' || b.id || '","repetition":' || b.repetition || ',"batch_size":' || b.batch_size || ',"load":' || b.load_level
        || ',"trials":[' || (
            SELECT string_agg('["' || t.backend || '","' || t.id || '"]', ',' ORDER BY t.ordinal) FROM trials t WHERE t.block_id = b.id
        ) || ']}', ',' ORDER BY b.ordinal) || ']'
    FROM blocks b WHERE b.shard_id = shards.id
)
WHERE EXISTS (SELECT 1 FROM blocks b WHERE b.shard_id = shards.id);

-- SQLite cannot drop a reference: the table is made anew.
CREATE TABLE measurements_anew (
    trial_id       TEXT   NOT NULL,
    attempt_id     TEXT   NOT NULL REFERENCES attempts (id) ON DELETE CASCADE,
    epoch          BIGINT NOT NULL,
    sha256         TEXT   NOT NULL,
    experiment_uid TEXT   NOT NULL REFERENCES experiments (uid) ON DELETE CASCADE,
    block_id       TEXT   NOT NULL,
    accepted       BIGINT NOT NULL,
    outcome        TEXT   NOT NULL,
    reason         TEXT,
    verdict        TEXT,
    texts_per_second DOUBLE PRECISION,
    started_at     TEXT   NOT NULL,
    finished_at    TEXT   NOT NULL,
    received_at    TEXT   NOT NULL,
    body           TEXT   NOT NULL,
    PRIMARY KEY (trial_id, attempt_id, epoch, sha256)
);

INSERT INTO measurements_anew (trial_id, attempt_id, epoch, sha256, experiment_uid, block_id, accepted, outcome, reason, verdict,
                               texts_per_second, started_at, finished_at, received_at, body)
SELECT trial_id, attempt_id, epoch, sha256, experiment_uid, block_id, accepted, outcome, reason, verdict,
       texts_per_second, started_at, finished_at, received_at, body FROM measurements;

DROP TABLE measurements;
ALTER TABLE measurements_anew RENAME TO measurements;
CREATE INDEX measurements_by_experiment ON measurements (experiment_uid);
CREATE INDEX measurements_by_attempt ON measurements (attempt_id);

DROP TABLE trials;
DROP TABLE blocks;
