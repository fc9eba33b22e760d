-- Removals that are too old are found by their time.
CREATE INDEX tombstones_by_time ON tombstones (deleted_at);
