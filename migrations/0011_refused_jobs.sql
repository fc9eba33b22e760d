-- Second jobs of an attempt that are being cancelled (ids, separated by blanks): a claim of theirs comes too late.
ALTER TABLE attempts ADD COLUMN refused_jobs TEXT;
