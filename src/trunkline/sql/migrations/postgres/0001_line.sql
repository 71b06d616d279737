-- The line: its counters, its channels, their messages, the idempotency keys and the writers.
-- {schema} becomes the name of the line's own schema.

CREATE TABLE {schema}.line (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  epoch text NOT NULL,
  head bigint NOT NULL,                    -- the newest global id ever given
  published_at double precision NOT NULL,  -- of the newest message; never decreases
  floor bigint NOT NULL,                   -- the newest trimmed global id of all channels
  revision bigint NOT NULL                 -- raised with every floor
) WITH (fillfactor = 10);                  -- updated by every append: room to do it in place

INSERT INTO {schema}.line (epoch, head, published_at, floor, revision)
VALUES (replace(gen_random_uuid()::text, '-', ''), 0, 0, 0, 0);

-- No index but the keys: an update then stays within its page.
CREATE TABLE {schema}.channel (
  channel_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  site_id text COLLATE "C" NOT NULL,       -- '' for a channel of no site
  name text COLLATE "C" NOT NULL,
  kind text NOT NULL,
  last_id bigint NOT NULL,
  floor bigint NOT NULL,                   -- newest trimmed message id: nothing up to it is readable
  floor_global bigint NOT NULL,            -- that message's global id
  published_at double precision NOT NULL,  -- of the newest message
  oldest_at double precision NOT NULL,     -- no kept message is older; may lie before the oldest
  UNIQUE (site_id, name)
) WITH (fillfactor = 50);

-- Newest message id that is physically gone; apart, so that deleting locks no channel's row.
CREATE TABLE {schema}.erasure (
  channel_id bigint PRIMARY KEY,
  upto bigint NOT NULL
);

-- Both ids rise together within a channel, so the second index also orders a channel globally.
CREATE TABLE {schema}.message (
  global_id bigint PRIMARY KEY,
  channel_id bigint NOT NULL,
  message_id bigint NOT NULL,
  published_at double precision NOT NULL,
  data bytea NOT NULL,
  audience bytea,
  headers bytea
);
CREATE UNIQUE INDEX message_channel
  ON {schema}.message (channel_id, message_id) INCLUDE (global_id);
-- Compressing would happen while everybody waits for the tail.
ALTER TABLE {schema}.message ALTER COLUMN data SET STORAGE EXTERNAL;

-- Receipts live by themselves: a trimmed message's key is still known.
CREATE TABLE {schema}.receipt (
  channel_id bigint NOT NULL,
  key bytea NOT NULL,
  fingerprint bytea NOT NULL,
  message_id bigint NOT NULL,
  global_id bigint NOT NULL,
  published_at double precision NOT NULL,
  PRIMARY KEY (channel_id, key)
);
CREATE INDEX receipt_age ON {schema}.receipt (published_at);

-- The last turn of each process that appends: how one whose answer was lost is found again, and
-- how a turn that was given up is kept from being stored later.
CREATE TABLE {schema}.writer (
  writer_id uuid PRIMARY KEY,
  turn bigint NOT NULL,
  epoch text NOT NULL,
  head bigint NOT NULL,                    -- before the turn
  answer bigint[],                         -- null: the turn is given up
  seen_at timestamptz NOT NULL
) WITH (fillfactor = 10);
