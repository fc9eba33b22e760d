-- When clean-up has to look at an ended experiment (its ttl, its logsTtl). Who ends an experiment or changes one of these only sets
-- it to the time of its end: clean-up looks then and sets the time of the next look itself. NULL: nothing is to be done.
ALTER TABLE experiments ADD COLUMN cleanup_at TEXT;

UPDATE experiments SET cleanup_at = finished_at WHERE finished_at IS NOT NULL;

CREATE INDEX experiments_by_cleanup ON experiments (cleanup_at);

-- Experiments that are gone and whose folder in the job directory is not: a file system may be away for days.
CREATE TABLE leftovers (
    experiment_uid TEXT   NOT NULL PRIMARY KEY,
    name           TEXT   NOT NULL,
    tries          BIGINT NOT NULL,
    next_at        TEXT   NOT NULL
);

CREATE INDEX leftovers_by_time ON leftovers (next_at);
