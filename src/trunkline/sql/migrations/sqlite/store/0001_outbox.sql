-- What stands beside a log: messages that guests' transactions left, and who may move them.

-- Who keeps this store: its name is part of the idempotency keys that the relay uses.
CREATE TABLE trunkline_store (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  ident TEXT NOT NULL
);

-- One writer at a time writes here, so a transaction's rows are neighbours; the token tells
-- where the next one begins. AUTOINCREMENT, because a number must never come back.
CREATE TABLE trunkline_outbox (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  token TEXT NOT NULL,
  draft BLOB NOT NULL
);

-- What no log would take, with the reason, until an operator decides.
CREATE TABLE trunkline_parked (
  seq INTEGER PRIMARY KEY,
  draft BLOB NOT NULL,
  error TEXT NOT NULL,
  parked_at REAL NOT NULL
);

-- The batch that is on its way to a log in another database: it may have arrived or not.
CREATE TABLE trunkline_relayed (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  begun_at REAL NOT NULL,
  seqs TEXT NOT NULL                 -- a JSON array
);

-- Who does what only one may do. Raising the epoch deposes whoever had the one before.
CREATE TABLE trunkline_lease (
  name TEXT PRIMARY KEY,
  epoch INTEGER NOT NULL,
  beat INTEGER NOT NULL,             -- raised by a living holder; a still one is taken over
  holder TEXT NOT NULL               -- '' for nobody
);

-- How far a durable consumer has come.
CREATE TABLE trunkline_checkpoint (
  name TEXT PRIMARY KEY,
  line_epoch TEXT NOT NULL,
  position INTEGER NOT NULL,
  moved_at REAL NOT NULL
);
