-- Durable consumers: who they are, where they stand, and what they could not handle yet.

CREATE TABLE {schema}.trunkline_consumer (
  name text PRIMARY KEY,
  interest text NOT NULL,
  keep text
);

-- told: the floor of the last gap that it was told of. turn: raised by an operator's decision, so
-- that a page begun before it can't be committed after it.
ALTER TABLE {schema}.trunkline_checkpoint
  ADD COLUMN told bigint NOT NULL DEFAULT 0,
  ADD COLUMN turn bigint NOT NULL DEFAULT 0,
  ADD COLUMN status text NOT NULL DEFAULT 'running',
  ADD COLUMN reason text NOT NULL DEFAULT '';

-- What was gone before a consumer came to it.
CREATE TABLE {schema}.trunkline_consumer_gap (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  consumer text NOT NULL,
  reason text NOT NULL,
  position text NOT NULL,
  floor bigint NOT NULL,
  met_at double precision NOT NULL
);

CREATE INDEX trunkline_consumer_gap_of ON {schema}.trunkline_consumer_gap (consumer, seq);

-- Messages that failed, and those that wait behind one with the same key, whole: the log may
-- trim them meanwhile. Only the first of a key ever has a time at which it is due.
CREATE TABLE {schema}.trunkline_consumer_parked (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  consumer text NOT NULL,
  key text NOT NULL,
  line_epoch text NOT NULL,
  global_id bigint NOT NULL,
  site_id text NOT NULL,
  channel text NOT NULL,
  message_id bigint NOT NULL,
  published_at double precision NOT NULL,
  data bytea NOT NULL,
  audience bytea,
  headers bytea,
  attempts integer NOT NULL,
  error text NOT NULL,
  due_at double precision,
  parked_at double precision NOT NULL,
  UNIQUE (consumer, line_epoch, global_id)
);

CREATE INDEX trunkline_consumer_parked_key
  ON {schema}.trunkline_consumer_parked (consumer, key, seq);
CREATE INDEX trunkline_consumer_parked_due
  ON {schema}.trunkline_consumer_parked (consumer, due_at);
