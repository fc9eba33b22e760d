-- Lists of one phase or one owner, in the order of names.
CREATE INDEX experiments_by_phase ON experiments (phase, name);
CREATE INDEX experiments_by_owner ON experiments (owner, name);

-- Versions up to this one may have been removed from the tombstones: who knows nothing newer has to list again.
INSERT INTO counters (name, value) VALUES ('compacted_version', 0);
