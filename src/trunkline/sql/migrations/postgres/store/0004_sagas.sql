-- Sagas: steps of commands and pipelines, each step on record before it begins. Process managers:
-- instances by what they correlate, and their timers.

-- Who runs sagas. Its beat is raised while it does; one that stands still is dead.
CREATE TABLE {schema}.trunkline_runner (
  id text PRIMARY KEY,
  beat bigint NOT NULL,
  host text NOT NULL
);

-- epoch: raised with every change of owner, the fence of all that owners write.
CREATE TABLE {schema}.trunkline_saga (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id text NOT NULL UNIQUE,
  kind text NOT NULL,
  name text NOT NULL,
  key text NOT NULL,
  version integer NOT NULL,
  status text NOT NULL,
  heading text NOT NULL,
  body text NOT NULL,
  context text NOT NULL,
  error text NOT NULL,
  owner text NOT NULL,
  epoch bigint NOT NULL,
  due_at double precision NOT NULL,
  begun_at double precision NOT NULL,
  moved_at double precision NOT NULL
);

-- One at a time works for a key.
CREATE UNIQUE INDEX trunkline_saga_key ON {schema}.trunkline_saga (kind, name, key)
  WHERE status IN ('running', 'undoing', 'stopped', 'stuck');
CREATE INDEX trunkline_saga_open ON {schema}.trunkline_saga (due_at)
  WHERE status IN ('running', 'undoing');
CREATE INDEX trunkline_saga_moved ON {schema}.trunkline_saga (status, moved_at);

CREATE TABLE {schema}.trunkline_saga_step (
  saga text NOT NULL,
  number integer NOT NULL,
  name text NOT NULL,
  status text NOT NULL,
  attempts integer NOT NULL,
  undo text NOT NULL,
  undo_data text,
  undo_attempts integer NOT NULL,
  output text,
  error text NOT NULL,
  begun_at double precision NOT NULL,
  ended_at double precision,
  PRIMARY KEY (saga, name)
);

CREATE TABLE {schema}.trunkline_process (
  name text NOT NULL,
  correlation text NOT NULL,
  version integer NOT NULL,
  status text NOT NULL,
  state text NOT NULL,
  error text NOT NULL,
  begun_at double precision NOT NULL,
  moved_at double precision NOT NULL,
  PRIMARY KEY (name, correlation)
);

CREATE TABLE {schema}.trunkline_timer (
  process text NOT NULL,
  correlation text NOT NULL,
  name text NOT NULL,
  due_at double precision NOT NULL,
  data text NOT NULL,
  serial text NOT NULL,
  attempts integer NOT NULL,
  PRIMARY KEY (process, correlation, name)
);

CREATE INDEX trunkline_timer_due ON {schema}.trunkline_timer (process, due_at);
