-- `outbox.seq` and every other number of a row is a key: the place of its generation times 2^40, plus its sequence number.
-- There is no AUTOINCREMENT: its table would be one more page in every commit. `last` is written where a row is deleted,
-- or a number is used up without one; else the highest key in `outbox` tells.
CREATE TABLE generation(place INTEGER PRIMARY KEY, gen TEXT NOT NULL, last INTEGER NOT NULL, floor INTEGER NOT NULL);
INSERT INTO generation SELECT 0, value, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'outbox'), 0),
  coalesce((SELECT min(seq) FROM outbox) - 1, 0) FROM meta WHERE key = 'gen';
DELETE FROM meta WHERE key = 'gen';
DROP INDEX evicted_first;
ALTER TABLE outbox RENAME TO outbox_1;
CREATE TABLE outbox(seq INTEGER PRIMARY KEY, priority INTEGER NOT NULL, topic TEXT NOT NULL, retain INTEGER NOT NULL,
  expiry_s INTEGER, boot INTEGER NOT NULL, mono_ns INTEGER NOT NULL, time_ns INTEGER NOT NULL, clock INTEGER,
  crc INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE INDEX evicted_first ON outbox(priority DESC, seq) WHERE priority > 1;
CREATE INDEX sent_first ON outbox(seq) WHERE priority = 0;
-- Runs of rows that the broker has; boot and times tell when the first of them was noted. Boot 0: no longer needed.
CREATE TABLE kept(first INTEGER PRIMARY KEY, last INTEGER NOT NULL, boot INTEGER NOT NULL, mono_ns INTEGER NOT NULL,
  time_ns INTEGER NOT NULL);
ALTER TABLE boot ADD COLUMN wall_offset_ns INTEGER;
ALTER TABLE boot ADD COLUMN offset_error_ns INTEGER;
ALTER TABLE boot ADD COLUMN quality TEXT;
