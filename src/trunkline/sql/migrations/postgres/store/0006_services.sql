-- Sibling services: who they are, what they subscribed to here, and what is subscribed to there.

-- Passwords that come are hashed; what goes out, and shared secrets, are sealed.
CREATE TABLE {schema}.trunkline_peer (
  name text PRIMARY KEY,
  password text,                     -- a salted hash; NULL: it can't come with one
  secret bytea,                       -- sealed: signs what goes either way; NULL for none
  outgoing bytea,                     -- sealed JSON: who we are there
  scheme text NOT NULL,              -- how we show it: signature, basic, bearer, none
  format text NOT NULL,              -- standard, toot
  channels text NOT NULL,            -- JSON array of patterns it may subscribe to
  created_at double precision NOT NULL,
  updated_at double precision NOT NULL
);

-- Who wants to hear of a channel, and where; those of one peer and URL share an endpoint.
CREATE TABLE {schema}.trunkline_callback (
  id text PRIMARY KEY,
  channel text NOT NULL,
  callback_url text NOT NULL,
  endpoint_id text NOT NULL,
  peer text NOT NULL,                -- '' for a stranger's, where strangers may subscribe
  format text NOT NULL,
  created_at double precision NOT NULL,
  renewed_at double precision NOT NULL,
  expires_at double precision,                   -- NULL: without a lease
  UNIQUE (channel, callback_url)
);

CREATE INDEX trunkline_callback_endpoint ON {schema}.trunkline_callback (endpoint_id);
CREATE INDEX trunkline_callback_of ON {schema}.trunkline_callback (peer, callback_url);
CREATE INDEX trunkline_callback_expires ON {schema}.trunkline_callback (expires_at)
  WHERE expires_at IS NOT NULL;

-- Our own subscriptions at sources, and when each is to be renewed.
CREATE TABLE {schema}.trunkline_registration (
  source text NOT NULL,
  channel text NOT NULL,
  callback_url text NOT NULL,
  registered_at double precision,                -- NULL: not yet
  renew_at double precision NOT NULL,
  failures integer NOT NULL,         -- in a row
  status integer,
  error text,
  PRIMARY KEY (source, channel)
);
