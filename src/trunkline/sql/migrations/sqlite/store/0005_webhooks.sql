-- Webhooks: external apps, where they are installed, and what is on its way to them.
-- Account ids and object ids are JSON, so that 1 and "1" stay two.

CREATE TABLE trunkline_app (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  description TEXT NOT NULL DEFAULT '',
  indicator TEXT UNIQUE,             -- a short name of its own; NULL for none
  entry_url TEXT,
  signals TEXT NOT NULL,             -- JSON array: what it asks for
  account_types TEXT NOT NULL,       -- JSON array; empty for all
  configuration TEXT NOT NULL,       -- JSON object, the host's
  options TEXT NOT NULL,             -- JSON object, which its endpoint has too
  created_at REAL NOT NULL,
  updated_at REAL NOT NULL
);

-- Several secrets of one purpose may be valid at once, so that both sides can change theirs.
CREATE TABLE trunkline_app_secret (
  id TEXT PRIMARY KEY,
  app_id TEXT NOT NULL,
  purpose TEXT NOT NULL,             -- signal (v1), signal_ed25519 (v1a), entry
  sealed BLOB NOT NULL,
  hint TEXT NOT NULL,                -- what may be shown of it
  created_at REAL NOT NULL,
  expires_at REAL                    -- NULL for the current one
);

CREATE INDEX trunkline_app_secret_of ON trunkline_app_secret (app_id, purpose);

CREATE TABLE trunkline_app_key (
  fingerprint TEXT PRIMARY KEY,      -- SHA256: and base64 of the public key's SHA-256
  app_id TEXT NOT NULL,
  public_pem TEXT NOT NULL,
  created_at REAL NOT NULL
);

CREATE INDEX trunkline_app_key_of ON trunkline_app_key (app_id);

CREATE TABLE trunkline_connection (
  id TEXT PRIMARY KEY,
  app_id TEXT NOT NULL,
  account_type TEXT NOT NULL,
  account_id TEXT NOT NULL,          -- JSON
  signals TEXT NOT NULL,             -- JSON array: what the account granted
  declined TEXT NOT NULL DEFAULT '[]',
  created_at REAL NOT NULL,
  updated_at REAL NOT NULL,
  UNIQUE (account_type, account_id, app_id)
);

CREATE INDEX trunkline_connection_of ON trunkline_connection (app_id);

-- Entry tokens that were used; forgotten when they would have expired anyway.
CREATE TABLE trunkline_entry (
  jti TEXT PRIMARY KEY,
  expires_at REAL NOT NULL
);

-- Where requests go: an app's signal_url, or a callback. Times are Unix seconds.
CREATE TABLE trunkline_endpoint (
  id TEXT PRIMARY KEY,
  app_id TEXT UNIQUE,                -- NULL for one that is no app's
  tenant TEXT NOT NULL DEFAULT '',   -- for fairness among endpoints; '' for none
  url TEXT NOT NULL,
  options TEXT NOT NULL DEFAULT '{}',-- JSON: retry schedule, formats, headers, rate
  state TEXT NOT NULL DEFAULT 'enabled', -- enabled, disabled
  disabled_at REAL,
  disabled_reason TEXT,
  notice INTEGER NOT NULL DEFAULT 0, -- how far its owner was warned, percent
  failing_since REAL,                -- the first failure since the last success
  succeeded_at REAL,
  failed_at REAL,
  breaker TEXT NOT NULL DEFAULT 'closed', -- closed, open, half_open
  breaker_opens INTEGER NOT NULL DEFAULT 0, -- openings in a row
  failures INTEGER NOT NULL DEFAULT 0,      -- failures in a row
  parked_until REAL NOT NULL DEFAULT 0,     -- nothing is claimed for it before
  served_at REAL NOT NULL DEFAULT 0,
  created_at REAL NOT NULL,
  updated_at REAL NOT NULL
);

-- One notice on its way to one endpoint. due_at is NULL once it is over; while it is being sent,
-- due_at is the end of the lease, so that one look at it finds all there is to do.
CREATE TABLE trunkline_transmissions (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,           -- the delivery id, the same in every attempt
  endpoint_id TEXT NOT NULL,
  app_id TEXT,
  tenant TEXT NOT NULL,              -- JSON [account_type, account_id], for fairness
  account_type TEXT NOT NULL,
  account_id TEXT NOT NULL,          -- JSON
  signal_name TEXT NOT NULL,
  signal_class TEXT NOT NULL,
  action TEXT NOT NULL,
  object_id TEXT,                    -- JSON; NULL for an object without one
  context TEXT NOT NULL,             -- JSON object
  body BLOB,                         -- for what is not read late
  collapse TEXT,                     -- equal ones that are queued are one; NULL for never
  order_key TEXT,
  state TEXT NOT NULL DEFAULT 'queued', -- queued, sending, sent, failed, dead, withdrawn
  due_at REAL,
  attempts INTEGER NOT NULL DEFAULT 0,
  tries INTEGER NOT NULL DEFAULT 0, -- attempts since it was queued, or an operator had it sent again
  lease_owner TEXT,
  lease_epoch INTEGER NOT NULL DEFAULT 0,
  lease_until REAL,
  created_at REAL NOT NULL,
  finished_at REAL,
  expires_at REAL,
  last_status INTEGER,
  last_error TEXT,
  resend_of TEXT
);

CREATE UNIQUE INDEX trunkline_transmissions_queued
  ON trunkline_transmissions (endpoint_id, collapse) WHERE state = 'queued';
-- A lane is what one tenant has queued for one endpoint; claims go from lane to lane.
CREATE INDEX trunkline_transmissions_due
  ON trunkline_transmissions (endpoint_id, tenant, due_at, seq) WHERE due_at IS NOT NULL;
CREATE INDEX trunkline_transmissions_order
  ON trunkline_transmissions (endpoint_id, order_key, seq)
  WHERE due_at IS NOT NULL AND order_key IS NOT NULL;
CREATE INDEX trunkline_transmissions_finished
  ON trunkline_transmissions (finished_at) WHERE finished_at IS NOT NULL;

-- Every attempt, as it went; never overwritten.
CREATE TABLE trunkline_attempts (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  transmission_id TEXT NOT NULL,
  endpoint_id TEXT NOT NULL,
  number INTEGER NOT NULL,
  started_at REAL NOT NULL,
  outcome TEXT NOT NULL,             -- delivered, refused, dns, tls, timeout, status, payload …
  status INTEGER,
  error TEXT,
  timing TEXT,                       -- JSON: seconds of each part
  request TEXT,                      -- JSON: url and headers, signatures left out
  request_body BLOB,
  response_headers TEXT,             -- JSON
  response_body BLOB                 -- capped
);

CREATE INDEX trunkline_attempts_of ON trunkline_attempts (transmission_id, number);
CREATE INDEX trunkline_attempts_at ON trunkline_attempts (started_at);

-- Deliveries that an operator wants again, as background work with progress.
CREATE TABLE trunkline_recovery (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,                -- recover (what was given up), replay (what was never tried)
  endpoint_id TEXT NOT NULL,
  since REAL NOT NULL,
  until REAL NOT NULL,
  state TEXT NOT NULL DEFAULT 'running', -- running, done, cancelled
  reached INTEGER NOT NULL DEFAULT 0,    -- the last transmission looked at
  last INTEGER NOT NULL,                 -- the last one there was when it began
  found INTEGER NOT NULL DEFAULT 0,
  created_at REAL NOT NULL,
  updated_at REAL NOT NULL
);

-- What a receiver has handled, written in the transaction of what its handler wrote.
CREATE TABLE trunkline_inbox (
  source TEXT NOT NULL,
  delivery_id TEXT NOT NULL,
  handler TEXT NOT NULL,
  handled_at REAL NOT NULL,
  PRIMARY KEY (source, delivery_id, handler)
) WITHOUT ROWID;

CREATE INDEX trunkline_inbox_at ON trunkline_inbox (handled_at);
