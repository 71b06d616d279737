-- Commands: what was sent under a key and what it came to, states of aggregates, tags of events.

-- A row is written by the command's own transaction: it is there if and only if that is committed.
CREATE TABLE trunkline_command (
  site_id TEXT NOT NULL,             -- '' for none
  key TEXT NOT NULL,
  command_id TEXT NOT NULL,
  name TEXT NOT NULL,
  fingerprint BLOB NOT NULL,
  result BLOB NOT NULL,              -- JSON
  at REAL NOT NULL,
  PRIMARY KEY (site_id, key)
) WITHOUT ROWID;

CREATE INDEX trunkline_command_at ON trunkline_command (at);

CREATE TABLE trunkline_snapshot (
  site_id TEXT NOT NULL,
  stream TEXT NOT NULL,
  version INTEGER NOT NULL,
  format INTEGER NOT NULL,           -- the version of the state's type
  state BLOB NOT NULL,               -- JSON
  PRIMARY KEY (site_id, stream)
) WITHOUT ROWID;

-- Events by their tags; the type is part of the index, so that a look needs no event.
CREATE TABLE trunkline_tag (
  site_id TEXT NOT NULL,
  tag TEXT NOT NULL,
  global_id INTEGER NOT NULL,
  type TEXT NOT NULL,
  PRIMARY KEY (site_id, tag, global_id)
) WITHOUT ROWID;
