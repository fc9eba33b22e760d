-- When scancel was first called for the job; cancel_sent_at is the last time.
ALTER TABLE attempts ADD COLUMN cancel_since TEXT;
