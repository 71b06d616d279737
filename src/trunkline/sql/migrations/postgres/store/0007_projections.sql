-- Projections: which version of a read model is live, and what is being built beside it.

CREATE TABLE {schema}.trunkline_projection (
  name text PRIMARY KEY, -- the handler's
  version integer NOT NULL, -- of the live tables
  builds integer NOT NULL, -- how many were begun: numbers the tables of the next
  line_epoch text NOT NULL, -- where it stood when it went live
  global_id bigint NOT NULL,
  tables text NOT NULL, -- JSON: the names of the live tables
  live_at double precision NOT NULL -- 0 while it has not seen all that is older
);

CREATE TABLE {schema}.trunkline_projection_build (
  name text PRIMARY KEY,
  version integer NOT NULL,
  build integer NOT NULL, -- the number in its tables' names
  line_epoch text NOT NULL,
  global_id bigint NOT NULL, -- the last event it is done with
  events bigint NOT NULL, -- how many it has taken
  begun_at double precision NOT NULL,
  moved_at double precision NOT NULL,
  error text NOT NULL -- why it stands still, or ''
);

-- Traces: what commands and eventual handlers did and how long it took. Failures and slow ones are
-- always kept, of others a sample.

CREATE TABLE {schema}.trunkline_trace (
  command_id text PRIMARY KEY,
  correlation text NOT NULL,
  causation text NOT NULL,
  domain text NOT NULL,
  name text NOT NULL,
  at double precision NOT NULL, -- Unix seconds
  seconds double precision NOT NULL,
  error text NOT NULL, -- '' when it went well
  steps text NOT NULL -- JSON
);

CREATE INDEX trunkline_trace_of ON {schema}.trunkline_trace (correlation);
CREATE INDEX trunkline_trace_at ON {schema}.trunkline_trace (at);

CREATE TABLE {schema}.trunkline_trace_run (
  event_id text NOT NULL,
  handler text NOT NULL,
  correlation text NOT NULL,
  at double precision NOT NULL,
  seconds double precision NOT NULL,
  attempts integer NOT NULL,
  error text NOT NULL,
  PRIMARY KEY (event_id, handler)
);

CREATE INDEX trunkline_trace_run_of ON {schema}.trunkline_trace_run (correlation);
CREATE INDEX trunkline_trace_run_at ON {schema}.trunkline_trace_run (at);

-- What led to what: one row for each event on the log, written behind it.

CREATE TABLE {schema}.trunkline_event (
  id text PRIMARY KEY,
  global_id bigint NOT NULL,
  site_id text NOT NULL, -- '' for none
  channel text NOT NULL,
  message_id bigint NOT NULL,
  domain text NOT NULL,
  name text NOT NULL,
  command_id text NOT NULL,
  causation text NOT NULL,
  correlation text NOT NULL,
  at double precision NOT NULL
);

CREATE INDEX trunkline_event_command ON {schema}.trunkline_event (command_id);
CREATE INDEX trunkline_event_causation ON {schema}.trunkline_event (causation);
CREATE INDEX trunkline_event_correlation ON {schema}.trunkline_event (correlation);
