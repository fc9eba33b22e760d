-- Ends of experiments that the webhook is still to be told, written with the end itself. No reference: they outlive their experiment.
CREATE TABLE notifications (
    id             TEXT   NOT NULL PRIMARY KEY,
    experiment_uid TEXT   NOT NULL,
    body           TEXT   NOT NULL,
    created_at     TEXT   NOT NULL,
    next_at        TEXT   NOT NULL,
    tries          BIGINT NOT NULL
);

CREATE INDEX notifications_by_time ON notifications (next_at);
