-- Commands: what was sent under a key and what it came to, states of aggregates, tags of events.

-- A row is written by the command's own transaction: it is there if and only if that is committed.
CREATE TABLE {schema}.trunkline_command (
  site_id text COLLATE "C" NOT NULL, -- '' for none
  key text COLLATE "C" NOT NULL,
  command_id text NOT NULL,
  name text NOT NULL,
  fingerprint bytea NOT NULL,
  result bytea NOT NULL, -- JSON
  at double precision NOT NULL,
  PRIMARY KEY (site_id, key)
);

CREATE INDEX trunkline_command_at ON {schema}.trunkline_command (at);

CREATE TABLE {schema}.trunkline_snapshot (
  site_id text COLLATE "C" NOT NULL,
  stream text COLLATE "C" NOT NULL,
  version bigint NOT NULL,
  format integer NOT NULL, -- the version of the state's type
  state bytea NOT NULL, -- JSON
  PRIMARY KEY (site_id, stream)
);

-- Events by their tags; the type is part of the index, so that a look needs no event.
CREATE TABLE {schema}.trunkline_tag (
  site_id text COLLATE "C" NOT NULL,
  tag text COLLATE "C" NOT NULL,
  global_id bigint NOT NULL,
  type text COLLATE "C" NOT NULL,
  PRIMARY KEY (site_id, tag, global_id) INCLUDE (type)
);
