-- Webhooks: external apps, where they are installed, and what is on its way to them.
-- Account ids and object ids are JSON, so that 1 and "1" stay two.

CREATE TABLE {schema}.trunkline_app (
  id text PRIMARY KEY,
  name text NOT NULL,
  description text NOT NULL DEFAULT '',
  indicator text UNIQUE, -- a short name of its own; NULL for none
  entry_url text,
  signals text NOT NULL, -- JSON array: what it asks for
  account_types text NOT NULL, -- JSON array; empty for all
  configuration text NOT NULL, -- JSON object, the host's
  options text NOT NULL, -- JSON object, which its endpoint has too
  created_at double precision NOT NULL,
  updated_at double precision NOT NULL
);

-- Several secrets of one purpose may be valid at once, so that both sides can change theirs.
CREATE TABLE {schema}.trunkline_app_secret (
  id text PRIMARY KEY,
  app_id text NOT NULL,
  purpose text NOT NULL, -- signal (v1), signal_ed25519 (v1a), entry
  sealed bytea NOT NULL,
  hint text NOT NULL, -- what may be shown of it
  created_at double precision NOT NULL,
  expires_at double precision                    -- NULL for the current one
);

CREATE INDEX trunkline_app_secret_of ON {schema}.trunkline_app_secret (app_id, purpose);

CREATE TABLE {schema}.trunkline_app_key (
  fingerprint text PRIMARY KEY, -- SHA256: and base64 of the public key's SHA-256
  app_id text NOT NULL,
  public_pem text NOT NULL,
  created_at double precision NOT NULL
);

CREATE INDEX trunkline_app_key_of ON {schema}.trunkline_app_key (app_id);

CREATE TABLE {schema}.trunkline_connection (
  id text PRIMARY KEY,
  app_id text NOT NULL,
  account_type text NOT NULL,
  account_id text NOT NULL, -- JSON
  signals text NOT NULL, -- JSON array: what the account granted
  declined text NOT NULL DEFAULT '[]',
  created_at double precision NOT NULL,
  updated_at double precision NOT NULL,
  UNIQUE (account_type, account_id, app_id)
);

CREATE INDEX trunkline_connection_of ON {schema}.trunkline_connection (app_id);

-- Entry tokens that were used; forgotten when they would have expired anyway.
CREATE TABLE {schema}.trunkline_entry (
  jti text PRIMARY KEY,
  expires_at double precision NOT NULL
);

-- Where requests go: an app's signal_url, or a callback. Times are Unix seconds.
CREATE TABLE {schema}.trunkline_endpoint (
  id text PRIMARY KEY,
  app_id text UNIQUE, -- NULL for one that is no app's
  tenant text NOT NULL DEFAULT '', -- for fairness among endpoints; '' for none
  url text NOT NULL,
  options text NOT NULL DEFAULT '{}',-- JSON: retry schedule, formats, headers, rate
  state text NOT NULL DEFAULT 'enabled', -- enabled, disabled
  disabled_at double precision,
  disabled_reason text,
  notice integer NOT NULL DEFAULT 0, -- how far its owner was warned, percent
  failing_since double precision, -- the first failure since the last success
  succeeded_at double precision,
  failed_at double precision,
  breaker text NOT NULL DEFAULT 'closed', -- closed, open, half_open
  breaker_opens integer NOT NULL DEFAULT 0, -- openings in a row
  failures integer NOT NULL DEFAULT 0, -- failures in a row
  parked_until double precision NOT NULL DEFAULT 0, -- nothing is claimed for it before
  served_at double precision NOT NULL DEFAULT 0,
  created_at double precision NOT NULL,
  updated_at double precision NOT NULL
);

-- One notice on its way to one endpoint. due_at is NULL once it is over; while it is being sent,
-- due_at is the end of the lease, so that one look at it finds all there is to do.
CREATE TABLE {schema}.trunkline_transmissions (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id text NOT NULL UNIQUE, -- the delivery id, the same in every attempt
  endpoint_id text NOT NULL,
  app_id text,
  tenant text NOT NULL, -- JSON [account_type, account_id], for fairness
  account_type text NOT NULL,
  account_id text NOT NULL, -- JSON
  signal_name text NOT NULL,
  signal_class text NOT NULL,
  action text NOT NULL,
  object_id text, -- JSON; NULL for an object without one
  context text NOT NULL, -- JSON object
  body bytea, -- for what is not read late
  collapse text, -- equal ones that are queued are one; NULL for never
  order_key text,
  state text NOT NULL DEFAULT 'queued', -- queued, sending, sent, failed, dead, withdrawn
  due_at double precision,
  attempts integer NOT NULL DEFAULT 0,
  tries integer NOT NULL DEFAULT 0, -- attempts since it was queued, or an operator had it sent again
  lease_owner text,
  lease_epoch bigint NOT NULL DEFAULT 0,
  lease_until double precision,
  created_at double precision NOT NULL,
  finished_at double precision,
  expires_at double precision,
  last_status integer,
  last_error text,
  resend_of text
);

CREATE UNIQUE INDEX trunkline_transmissions_queued
  ON {schema}.trunkline_transmissions (endpoint_id, collapse) WHERE state = 'queued';
-- A lane is what one tenant has queued for one endpoint; claims go from lane to lane.
CREATE INDEX trunkline_transmissions_due
  ON {schema}.trunkline_transmissions (endpoint_id, tenant, due_at, seq) WHERE due_at IS NOT NULL;
CREATE INDEX trunkline_transmissions_order
  ON {schema}.trunkline_transmissions (endpoint_id, order_key, seq)
  WHERE due_at IS NOT NULL AND order_key IS NOT NULL;
CREATE INDEX trunkline_transmissions_finished
  ON {schema}.trunkline_transmissions (finished_at) WHERE finished_at IS NOT NULL;

-- Every attempt, as it went; never overwritten.
CREATE TABLE {schema}.trunkline_attempts (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  transmission_id text NOT NULL,
  endpoint_id text NOT NULL,
  number integer NOT NULL,
  started_at double precision NOT NULL,
  outcome text NOT NULL, -- delivered, refused, dns, tls, timeout, status, payload …
  status integer,
  error text,
  timing text, -- JSON: seconds of each part
  request text, -- JSON: url and headers, signatures left out
  request_body bytea,
  response_headers text, -- JSON
  response_body bytea                 -- capped
);

CREATE INDEX trunkline_attempts_of ON {schema}.trunkline_attempts (transmission_id, number);
CREATE INDEX trunkline_attempts_at ON {schema}.trunkline_attempts (started_at);

-- Deliveries that an operator wants again, as background work with progress.
CREATE TABLE {schema}.trunkline_recovery (
  id text PRIMARY KEY,
  kind text NOT NULL, -- recover (what was given up), replay (what was never tried)
  endpoint_id text NOT NULL,
  since double precision NOT NULL,
  until double precision NOT NULL,
  state text NOT NULL DEFAULT 'running', -- running, done, cancelled
  reached bigint NOT NULL DEFAULT 0, -- the last transmission looked at
  last bigint NOT NULL, -- the last one there was when it began
  found bigint NOT NULL DEFAULT 0,
  created_at double precision NOT NULL,
  updated_at double precision NOT NULL
);

-- What a receiver has handled, written in the transaction of what its handler wrote.
CREATE TABLE {schema}.trunkline_inbox (
  source text NOT NULL,
  delivery_id text NOT NULL,
  handler text NOT NULL,
  handled_at double precision NOT NULL,
  PRIMARY KEY (source, delivery_id, handler)
);

CREATE INDEX trunkline_inbox_at ON {schema}.trunkline_inbox (handled_at);
