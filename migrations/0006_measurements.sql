-- What agents handed in for trials. The first body of a (trial, attempt, epoch) is accepted = 1; another body of the same key is
-- kept as evidence with accepted = 0. outcome: measured, failed, interrupted. The columns after it only repeat what the body says (or
-- what results code made of it at receipt), for lists that must not read megabytes of bodies.
CREATE TABLE measurements (
    trial_id       TEXT   NOT NULL REFERENCES trials (id) ON DELETE CASCADE,
    attempt_id     TEXT   NOT NULL REFERENCES attempts (id) ON DELETE CASCADE,
    epoch          BIGINT NOT NULL,
    sha256         TEXT   NOT NULL,
    experiment_uid TEXT   NOT NULL REFERENCES experiments (uid) ON DELETE CASCADE,
    block_id       TEXT   NOT NULL REFERENCES blocks (id) ON DELETE CASCADE,
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

CREATE INDEX measurements_by_experiment ON measurements (experiment_uid);
CREATE INDEX measurements_by_attempt ON measurements (attempt_id);
CREATE INDEX measurements_by_block ON measurements (block_id);
