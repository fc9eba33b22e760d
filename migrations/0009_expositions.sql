-- The last Prometheus exposition that each agent pushed.
CREATE TABLE expositions (
    attempt_id     TEXT   NOT NULL PRIMARY KEY REFERENCES attempts (id) ON DELETE CASCADE,
    epoch          BIGINT NOT NULL,
    seq            BIGINT NOT NULL,
    received_at    TEXT   NOT NULL,
    body           TEXT   NOT NULL
);
