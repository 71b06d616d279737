-- Sibling services: who they are, what they subscribed to here, and what is subscribed to there.

-- Passwords that come are hashed; what goes out, and shared secrets, are sealed.
CREATE TABLE trunkline_peer (
  name TEXT PRIMARY KEY,
  password TEXT,                     -- a salted hash; NULL: it can't come with one
  secret BLOB,                       -- sealed: signs what goes either way; NULL for none
  outgoing BLOB,                     -- sealed JSON: who we are there
  scheme TEXT NOT NULL,              -- how we show it: signature, basic, bearer, none
  format TEXT NOT NULL,              -- standard, toot
  channels TEXT NOT NULL,            -- JSON array of patterns it may subscribe to
  created_at REAL NOT NULL,
  updated_at REAL NOT NULL
) WITHOUT ROWID;

-- Who wants to hear of a channel, and where; those of one peer and URL share an endpoint.
CREATE TABLE trunkline_callback (
  id TEXT PRIMARY KEY,
  channel TEXT NOT NULL,
  callback_url TEXT NOT NULL,
  endpoint_id TEXT NOT NULL,
  peer TEXT NOT NULL,                -- '' for a stranger's, where strangers may subscribe
  format TEXT NOT NULL,
  created_at REAL NOT NULL,
  renewed_at REAL NOT NULL,
  expires_at REAL,                   -- NULL: without a lease
  UNIQUE (channel, callback_url)
) WITHOUT ROWID;

CREATE INDEX trunkline_callback_endpoint ON trunkline_callback (endpoint_id);
CREATE INDEX trunkline_callback_of ON trunkline_callback (peer, callback_url);
CREATE INDEX trunkline_callback_expires ON trunkline_callback (expires_at)
  WHERE expires_at IS NOT NULL;

-- Our own subscriptions at sources, and when each is to be renewed.
CREATE TABLE trunkline_registration (
  source TEXT NOT NULL,
  channel TEXT NOT NULL,
  callback_url TEXT NOT NULL,
  registered_at REAL,                -- NULL: not yet
  renew_at REAL NOT NULL,
  failures INTEGER NOT NULL,         -- in a row
  status INTEGER,
  error TEXT,
  PRIMARY KEY (source, channel)
) WITHOUT ROWID;
