-- The matrix, expanded once at creation: shard → block → trial. Nothing here ever changes.
CREATE TABLE shards (
    id             TEXT   NOT NULL PRIMARY KEY,
    experiment_uid TEXT   NOT NULL REFERENCES experiments (uid) ON DELETE CASCADE,
    ordinal        BIGINT NOT NULL
);

CREATE INDEX shards_by_experiment ON shards (experiment_uid);

CREATE TABLE blocks (
    id             TEXT   NOT NULL PRIMARY KEY,
    shard_id       TEXT   NOT NULL REFERENCES shards (id) ON DELETE CASCADE,
    experiment_uid TEXT   NOT NULL REFERENCES experiments (uid) ON DELETE CASCADE,
    ordinal        BIGINT NOT NULL,
    repetition     BIGINT NOT NULL,
    batch_size     BIGINT NOT NULL,
    load_level     TEXT   NOT NULL
);

CREATE INDEX blocks_by_experiment ON blocks (experiment_uid);
CREATE INDEX blocks_by_shard ON blocks (shard_id);

CREATE TABLE trials (
    id             TEXT   NOT NULL PRIMARY KEY,
    block_id       TEXT   NOT NULL REFERENCES blocks (id) ON DELETE CASCADE,
    experiment_uid TEXT   NOT NULL REFERENCES experiments (uid) ON DELETE CASCADE,
    ordinal        BIGINT NOT NULL,
    backend        TEXT   NOT NULL
);

CREATE INDEX trials_by_experiment ON trials (experiment_uid);
CREATE INDEX trials_by_block ON trials (block_id);
