-- What stands beside a log: messages that guests' transactions left, and who may move them.

-- Who keeps this store: its name is part of the idempotency keys that the relay uses.
CREATE TABLE {schema}.trunkline_store (
  one integer PRIMARY KEY CHECK (one = 1),
  ident text NOT NULL
);

-- No unique key and nothing to update: a guest waits for nobody here, and nobody for a guest.
-- The top-level transaction's id tells which rows came together, savepoints included.
CREATE TABLE {schema}.trunkline_outbox (
  seq bigint GENERATED ALWAYS AS IDENTITY,
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  draft bytea NOT NULL
);

CREATE INDEX trunkline_outbox_seq ON {schema}.trunkline_outbox (seq);

-- What no log would take, with the reason, until an operator decides.
CREATE TABLE {schema}.trunkline_parked (
  seq bigint PRIMARY KEY,
  draft bytea NOT NULL,
  error text NOT NULL,
  parked_at double precision NOT NULL
);

-- The batch that is on its way to a log in another database: it may have arrived or not.
CREATE TABLE {schema}.trunkline_relayed (
  one integer PRIMARY KEY CHECK (one = 1),
  begun_at double precision NOT NULL,
  seqs text NOT NULL
);

-- Who does what only one may do. Raising the epoch deposes whoever had the one before.
CREATE TABLE {schema}.trunkline_lease (
  name text PRIMARY KEY,
  epoch bigint NOT NULL,
  beat bigint NOT NULL,
  holder text NOT NULL
);

-- How far a durable consumer has come.
CREATE TABLE {schema}.trunkline_checkpoint (
  name text PRIMARY KEY,
  line_epoch text NOT NULL,
  position bigint NOT NULL,
  moved_at double precision NOT NULL
);
