-- Vectors of the parity texts, one set per start of a service (ParityVectors as JSON).
CREATE TABLE parity (
    attempt_id     TEXT   NOT NULL REFERENCES attempts (id) ON DELETE CASCADE,
    epoch          BIGINT NOT NULL,
    seq            BIGINT NOT NULL,
    experiment_uid TEXT   NOT NULL REFERENCES experiments (uid) ON DELETE CASCADE,
    body           TEXT   NOT NULL,
    PRIMARY KEY (attempt_id, epoch, seq)
);

CREATE INDEX parity_by_experiment ON parity (experiment_uid);
