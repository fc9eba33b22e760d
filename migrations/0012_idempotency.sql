-- Answers to creates that came with an Idempotency-Key, for a day: a retry gets the same answer and makes nothing new. `fingerprint`
-- is the SHA-256 of what was posted; `created` = 1 when the experiment was new.
CREATE TABLE idempotency_keys (
    owner       TEXT   NOT NULL,
    request_key TEXT   NOT NULL,
    fingerprint TEXT   NOT NULL,
    created     BIGINT NOT NULL,
    answer      TEXT   NOT NULL,
    kept_at     TEXT   NOT NULL,
    PRIMARY KEY (owner, request_key)
);

CREATE INDEX idempotency_keys_by_time ON idempotency_keys (kept_at);
