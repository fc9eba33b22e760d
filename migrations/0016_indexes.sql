-- What grows with the experiments that have ended must not be read from one end to the other.
CREATE INDEX attempts_by_shard ON attempts (shard_id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
CREATE INDEX session_links_by_expiry ON session_links (expires_at);

-- Counts of those that have ended, by phase; also finds the few that have not.
DROP INDEX experiments_by_settled;
CREATE INDEX experiments_by_settled ON experiments (settled, phase);
