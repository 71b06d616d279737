-- Durable consumers: who they are, where they stand, and what they could not handle yet.

CREATE TABLE trunkline_consumer (
  name TEXT PRIMARY KEY,
  interest TEXT NOT NULL,            -- JSON
  keep TEXT                          -- JSON of the limits up to which trimming waits for it
);

-- The floor of the last gap that it was told of.
ALTER TABLE trunkline_checkpoint ADD COLUMN told INTEGER NOT NULL DEFAULT 0;
-- Raised by an operator's decision, so that a page begun before it can't be committed after it.
ALTER TABLE trunkline_checkpoint ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;
ALTER TABLE trunkline_checkpoint ADD COLUMN status TEXT NOT NULL DEFAULT 'running';
ALTER TABLE trunkline_checkpoint ADD COLUMN reason TEXT NOT NULL DEFAULT '';

-- What was gone before a consumer came to it.
CREATE TABLE trunkline_consumer_gap (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  consumer TEXT NOT NULL,
  reason TEXT NOT NULL,
  position TEXT NOT NULL,            -- where it stood
  floor INTEGER NOT NULL,
  met_at REAL NOT NULL
);

CREATE INDEX trunkline_consumer_gap_of ON trunkline_consumer_gap (consumer, seq);

-- Messages that failed, and those that wait behind one with the same key, whole: the log may
-- trim them meanwhile. Only the first of a key ever has a time at which it is due.
CREATE TABLE trunkline_consumer_parked (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  consumer TEXT NOT NULL,
  key TEXT NOT NULL,
  line_epoch TEXT NOT NULL,
  global_id INTEGER NOT NULL,
  site_id TEXT NOT NULL,             -- '' for none
  channel TEXT NOT NULL,
  message_id INTEGER NOT NULL,
  published_at REAL NOT NULL,
  data BLOB NOT NULL,
  audience BLOB,
  headers BLOB,
  attempts INTEGER NOT NULL,
  error TEXT NOT NULL,
  due_at REAL,
  parked_at REAL NOT NULL,
  UNIQUE (consumer, line_epoch, global_id)
);

CREATE INDEX trunkline_consumer_parked_key ON trunkline_consumer_parked (consumer, key, seq);
CREATE INDEX trunkline_consumer_parked_due ON trunkline_consumer_parked (consumer, due_at);
