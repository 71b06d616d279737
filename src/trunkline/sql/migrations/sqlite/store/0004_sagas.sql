-- Sagas: steps of commands and pipelines, each step on record before it begins. Process managers:
-- instances by what they correlate, and their timers.

-- Who runs sagas. Its beat is raised while it does; one that stands still is dead.
CREATE TABLE trunkline_runner (
  id TEXT PRIMARY KEY,
  beat INTEGER NOT NULL,
  host TEXT NOT NULL
);

-- epoch: raised with every change of owner, the fence of all that owners write.
CREATE TABLE trunkline_saga (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,                -- 'command' or 'pipeline'
  name TEXT NOT NULL,
  key TEXT NOT NULL,
  version INTEGER NOT NULL,
  status TEXT NOT NULL,
  heading TEXT NOT NULL,             -- 'forward' or 'backward'
  body TEXT NOT NULL,                -- JSON of what it works on
  context TEXT NOT NULL,             -- JSON of where it came from
  error TEXT NOT NULL,
  owner TEXT NOT NULL,               -- '' for none
  epoch INTEGER NOT NULL,
  due_at REAL NOT NULL,              -- nothing is to be done before it
  begun_at REAL NOT NULL,
  moved_at REAL NOT NULL
);

-- One at a time works for a key.
CREATE UNIQUE INDEX trunkline_saga_key ON trunkline_saga (kind, name, key)
  WHERE status IN ('running', 'undoing', 'stopped', 'stuck');
CREATE INDEX trunkline_saga_open ON trunkline_saga (due_at)
  WHERE status IN ('running', 'undoing');
CREATE INDEX trunkline_saga_moved ON trunkline_saga (status, moved_at);

CREATE TABLE trunkline_saga_step (
  saga TEXT NOT NULL,
  number INTEGER NOT NULL,           -- in the order in which they began
  name TEXT NOT NULL,
  status TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  undo TEXT NOT NULL,                -- name of the handler that undoes it, '' for none
  undo_data TEXT,                    -- JSON that it gets
  undo_attempts INTEGER NOT NULL,
  output TEXT,                       -- JSON of what the step returned
  error TEXT NOT NULL,
  begun_at REAL NOT NULL,
  ended_at REAL,
  PRIMARY KEY (saga, name)
);

CREATE TABLE trunkline_process (
  name TEXT NOT NULL,
  correlation TEXT NOT NULL,
  version INTEGER NOT NULL,
  status TEXT NOT NULL,
  state TEXT NOT NULL,               -- JSON
  error TEXT NOT NULL,
  begun_at REAL NOT NULL,
  moved_at REAL NOT NULL,
  PRIMARY KEY (name, correlation)
);

CREATE TABLE trunkline_timer (
  process TEXT NOT NULL,
  correlation TEXT NOT NULL,
  name TEXT NOT NULL,
  due_at REAL NOT NULL,
  data TEXT NOT NULL,                -- JSON
  serial TEXT NOT NULL,              -- tells a timer from another one set under its name
  attempts INTEGER NOT NULL,
  PRIMARY KEY (process, correlation, name)
);

CREATE INDEX trunkline_timer_due ON trunkline_timer (process, due_at);
