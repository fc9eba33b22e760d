-- How the trials of an experiment ended, stored with its end: nothing is accepted after it, so lists need not count again. NULL: count.
ALTER TABLE experiments ADD COLUMN trials TEXT;
