CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE boot(number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
CREATE TABLE outbox(seq INTEGER PRIMARY KEY AUTOINCREMENT, priority INTEGER NOT NULL, topic TEXT NOT NULL,
  retain INTEGER NOT NULL, expiry_s INTEGER, boot INTEGER NOT NULL, mono_ns INTEGER NOT NULL,
  time_ns INTEGER NOT NULL, payload BLOB NOT NULL);
-- only what is evicted first is indexed: an index over every row would add a page to every commit
CREATE INDEX evicted_first ON outbox(priority DESC, seq) WHERE priority > 1;
CREATE TABLE gap(seq INTEGER PRIMARY KEY, reason TEXT NOT NULL, runs TEXT NOT NULL, count INTEGER NOT NULL,
  sealed INTEGER NOT NULL);
