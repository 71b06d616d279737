-- Projections: which version of a read model is live, and what is being built beside it.

CREATE TABLE trunkline_projection (
  name TEXT PRIMARY KEY,             -- the handler's
  version INTEGER NOT NULL,          -- of the live tables
  builds INTEGER NOT NULL,           -- how many were begun: numbers the tables of the next
  line_epoch TEXT NOT NULL,          -- where it stood when it went live
  global_id INTEGER NOT NULL,
  tables TEXT NOT NULL,              -- JSON: the names of the live tables
  live_at REAL NOT NULL              -- 0 while it has not seen all that is older
) WITHOUT ROWID;

CREATE TABLE trunkline_projection_build (
  name TEXT PRIMARY KEY,
  version INTEGER NOT NULL,
  build INTEGER NOT NULL,            -- the number in its tables' names
  line_epoch TEXT NOT NULL,
  global_id INTEGER NOT NULL,        -- the last event it is done with
  events INTEGER NOT NULL,           -- how many it has taken
  begun_at REAL NOT NULL,
  moved_at REAL NOT NULL,
  error TEXT NOT NULL                -- why it stands still, or ''
) WITHOUT ROWID;

-- Traces: what commands and eventual handlers did and how long it took. Failures and slow ones are
-- always kept, of others a sample.

CREATE TABLE trunkline_trace (
  command_id TEXT PRIMARY KEY,
  correlation TEXT NOT NULL,
  causation TEXT NOT NULL,
  domain TEXT NOT NULL,
  name TEXT NOT NULL,
  at REAL NOT NULL,                  -- Unix seconds
  seconds REAL NOT NULL,
  error TEXT NOT NULL,               -- '' when it went well
  steps TEXT NOT NULL                -- JSON
) WITHOUT ROWID;

CREATE INDEX trunkline_trace_of ON trunkline_trace (correlation);
CREATE INDEX trunkline_trace_at ON trunkline_trace (at);

CREATE TABLE trunkline_trace_run (
  event_id TEXT NOT NULL,
  handler TEXT NOT NULL,
  correlation TEXT NOT NULL,
  at REAL NOT NULL,
  seconds REAL NOT NULL,
  attempts INTEGER NOT NULL,
  error TEXT NOT NULL,
  PRIMARY KEY (event_id, handler)
) WITHOUT ROWID;

CREATE INDEX trunkline_trace_run_of ON trunkline_trace_run (correlation);
CREATE INDEX trunkline_trace_run_at ON trunkline_trace_run (at);

-- What led to what: one row for each event on the log, written behind it.

CREATE TABLE trunkline_event (
  id TEXT PRIMARY KEY,
  global_id INTEGER NOT NULL,
  site_id TEXT NOT NULL,             -- '' for none
  channel TEXT NOT NULL,
  message_id INTEGER NOT NULL,
  domain TEXT NOT NULL,
  name TEXT NOT NULL,
  command_id TEXT NOT NULL,
  causation TEXT NOT NULL,
  correlation TEXT NOT NULL,
  at REAL NOT NULL
) WITHOUT ROWID;

CREATE INDEX trunkline_event_command ON trunkline_event (command_id);
CREATE INDEX trunkline_event_causation ON trunkline_event (causation);
CREATE INDEX trunkline_event_correlation ON trunkline_event (correlation);
