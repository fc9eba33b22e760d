-- Our record of one Slurm job. state: Intended (sbatch surely did nothing yet) → Submitting (it may have) → Submitted (Slurm has
-- it) → Ended. Columns are grouped by writer: the reconciler's (guarded by `revision`), the claim's, the agent's.
CREATE TABLE attempts (
    id              TEXT   NOT NULL PRIMARY KEY,
    experiment_uid  TEXT   NOT NULL REFERENCES experiments (uid) ON DELETE CASCADE,
    shard_id        TEXT   NOT NULL REFERENCES shards (id) ON DELETE CASCADE,
    number          BIGINT NOT NULL,
    job_name        TEXT   NOT NULL UNIQUE,
    token_sha256    TEXT   NOT NULL,
    created_at      TEXT   NOT NULL,

    revision        BIGINT NOT NULL,
    state           TEXT   NOT NULL,
    not_before      TEXT,
    submitting_at   TEXT,
    job_id          TEXT,
    cluster         TEXT,
    slurm_state     TEXT,
    slurm_reason    TEXT,
    job_node        TEXT,
    restarts        BIGINT,
    submitted_at    TEXT,
    started_at      TEXT,
    expected_start  TEXT,
    ends_at         TEXT,
    missing_since   TEXT,
    cancel_sent_at  TEXT,
    cancel_reason   TEXT,
    cancel_message  TEXT,
    over_at         TEXT,
    outcome         TEXT,
    exit_code       BIGINT,
    spool_read      BIGINT,
    ended_at        TEXT,
    end_kind        TEXT,
    end_reason      TEXT,
    end_message     TEXT,

    claim_job_id    TEXT,
    epoch           BIGINT NOT NULL,
    restart_count   BIGINT,
    boot_nonce      TEXT,
    claim_node      TEXT,
    claimed_at      TEXT,

    last_heard_at   TEXT,
    farewell_at     TEXT,
    live            TEXT,
    log_bytes       BIGINT NOT NULL
);

CREATE INDEX attempts_by_experiment ON attempts (experiment_uid);
CREATE INDEX attempts_by_state ON attempts (state);
