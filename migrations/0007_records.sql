-- Lines of the agents' streams that people read (phases, logs, farewells). `position` orders them within an experiment.
CREATE TABLE records (
    attempt_id     TEXT   NOT NULL REFERENCES attempts (id) ON DELETE CASCADE,
    epoch          BIGINT NOT NULL,
    seq            BIGINT NOT NULL,
    experiment_uid TEXT   NOT NULL REFERENCES experiments (uid) ON DELETE CASCADE,
    position       BIGINT NOT NULL,
    recorded_at    TEXT   NOT NULL,
    stream         TEXT   NOT NULL,
    backend        TEXT,
    trial_id       TEXT,
    line           TEXT   NOT NULL,
    PRIMARY KEY (attempt_id, epoch, seq)
);

CREATE UNIQUE INDEX records_by_position ON records (experiment_uid, position);
