-- What happened to an experiment, for people.
CREATE TABLE events (
    experiment_uid TEXT   NOT NULL REFERENCES experiments (uid) ON DELETE CASCADE,
    seq            BIGINT NOT NULL,
    happened_at    TEXT   NOT NULL,
    kind           TEXT   NOT NULL,
    who            TEXT   NOT NULL,
    reason         TEXT   NOT NULL,
    message        TEXT   NOT NULL,
    PRIMARY KEY (experiment_uid, seq)
);
