-- The line: its counters, its channels, their messages, and the idempotency keys.
-- Everything bears a prefix, because a guest's tables may live in the same file.

CREATE TABLE trunkline_line (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  epoch TEXT NOT NULL,
  head INTEGER NOT NULL,             -- the newest global id ever given
  published_at REAL NOT NULL,        -- of the newest message; never decreases
  revision INTEGER NOT NULL          -- raised by every trim, so that caches notice
);

CREATE TABLE trunkline_channel (
  channel_id INTEGER PRIMARY KEY,
  site_id TEXT NOT NULL,             -- '' for a channel of no site
  name TEXT NOT NULL,
  kind TEXT NOT NULL,
  last_id INTEGER NOT NULL,
  floor INTEGER NOT NULL,            -- newest trimmed message id: nothing up to it is readable
  floor_global INTEGER NOT NULL,     -- that message's global id
  erased INTEGER NOT NULL,           -- newest message id that is physically gone, ≤ floor
  published_at REAL NOT NULL,        -- of the newest message
  oldest_at REAL NOT NULL,           -- no kept message is older; may lie before the oldest kept
  UNIQUE (site_id, name)
);

CREATE INDEX trunkline_channel_floor ON trunkline_channel (floor_global) WHERE floor_global > 0;

-- Both ids rise together within a channel, so this one index also orders a channel globally.
CREATE TABLE trunkline_message (
  global_id INTEGER PRIMARY KEY,
  channel_id INTEGER NOT NULL,
  message_id INTEGER NOT NULL,
  published_at REAL NOT NULL,
  data BLOB NOT NULL,
  audience BLOB,
  headers BLOB
);

CREATE UNIQUE INDEX trunkline_message_channel ON trunkline_message (channel_id, message_id);

-- Receipts live by themselves: a trimmed message's key is still known. They rise with time.
CREATE TABLE trunkline_receipt (
  receipt_id INTEGER PRIMARY KEY,
  channel_id INTEGER NOT NULL,
  key TEXT NOT NULL,
  fingerprint BLOB NOT NULL,
  message_id INTEGER NOT NULL,
  global_id INTEGER NOT NULL,
  published_at REAL NOT NULL,
  UNIQUE (channel_id, key)
);
