-- What users posted. `revision` guards the row's own columns (compare and set); `resource_version` also grows when something
-- below it becomes visible (a record, a measurement). `settled` = 1: ended and nothing is left to do, until a user changes it.
CREATE TABLE experiments (
    uid                 TEXT   NOT NULL PRIMARY KEY,
    name                TEXT   NOT NULL UNIQUE,
    owner               TEXT   NOT NULL,
    labels              TEXT   NOT NULL,
    annotations         TEXT   NOT NULL,
    spec                TEXT   NOT NULL,
    generation          BIGINT NOT NULL,
    observed_generation BIGINT NOT NULL,
    revision            BIGINT NOT NULL,
    created_version     BIGINT NOT NULL,
    resource_version    BIGINT NOT NULL,
    phase               TEXT   NOT NULL,
    message             TEXT,
    conditions          TEXT   NOT NULL,
    estimated_seconds   BIGINT NOT NULL,
    log_position        BIGINT NOT NULL,
    settled             BIGINT NOT NULL,
    created_at          TEXT   NOT NULL,
    started_at          TEXT,
    finished_at         TEXT,
    deleted_at          TEXT
);

CREATE INDEX experiments_by_version ON experiments (resource_version);
CREATE INDEX experiments_by_settled ON experiments (settled);

-- Deleted experiments, for watchers that were away.
CREATE TABLE tombstones (
    uid              TEXT   NOT NULL PRIMARY KEY,
    name             TEXT   NOT NULL,
    resource_version BIGINT NOT NULL,
    deleted_at       TEXT   NOT NULL
);

CREATE INDEX tombstones_by_version ON tombstones (resource_version);
