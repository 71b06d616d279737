"""The SQL of peers, callbacks and registrations, written once for both dialects."""

# ruff: noqa: S608 - statements are put together from constants and a checked schema name alone
from __future__ import annotations

from functools import cache
from typing import Final

import msgspec

from trunkline.sql.database import Database, Dialect
from trunkline.sql.placeholders import in_dialect

_PEER: Final = "name, password, secret, outgoing, scheme, format, channels, created_at, updated_at"
_CALLBACK: Final = (
    "c.id, c.channel, c.callback_url, c.endpoint_id, c.peer, c.format, c.created_at, "
    "c.renewed_at, c.expires_at"
)
_REGISTRATION: Final = (
    "source, channel, callback_url, registered_at, renew_at, failures, status, error"
)
_EMPTY: Final = (
    "DELETE FROM t:endpoint WHERE id = ? AND NOT EXISTS "
    "(SELECT 1 FROM t:callback c WHERE c.endpoint_id = t:endpoint.id)"
)


class SiblingStatements(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the statements, with ``?`` for values, ``t:`` before our tables and ``{among}``."""

    put_peer: str = (
        f"INSERT INTO t:peer ({_PEER}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (name) DO UPDATE SET password = excluded.password, "
        "secret = excluded.secret, outgoing = excluded.outgoing, scheme = excluded.scheme, "
        "format = excluded.format, channels = excluded.channels, updated_at = excluded.updated_at"
    )
    rotate_peer: str = "UPDATE t:peer SET secret = ?, updated_at = ? WHERE name = ? AND secret = ?"
    forget_retired: str = "DELETE FROM t:app_secret WHERE app_id = ?"
    retired: str = (
        "SELECT id, app_id, sealed FROM t:app_secret WHERE app_id {among} AND expires_at > ? "
        "ORDER BY created_at DESC, id"
    )
    peer: str = f"SELECT {_PEER} FROM t:peer WHERE name = ?"
    peers: str = f"SELECT {_PEER} FROM t:peer WHERE name > ? ORDER BY name LIMIT ?"
    some_peers: str = f"SELECT {_PEER} FROM t:peer WHERE name {{among}}"
    remove_peer: str = "DELETE FROM t:peer WHERE name = ?"
    remove_peer_endpoints: str = (
        "DELETE FROM t:endpoint WHERE id IN (SELECT endpoint_id FROM t:callback WHERE peer = ?)"
    )
    remove_peer_callbacks: str = "DELETE FROM t:callback WHERE peer = ?"

    callback: str = f"SELECT {_CALLBACK} FROM t:callback c WHERE channel = ? AND callback_url = ?"
    callbacks: str = (
        f"SELECT {_CALLBACK} FROM t:callback c WHERE id > ? AND (? = 0 OR peer = ?) "
        "AND (expires_at IS NULL OR expires_at > ?) ORDER BY id LIMIT ?"
    )
    count: str = "SELECT count(*) FROM t:callback WHERE peer = ?"
    endpoint_of: str = (
        "SELECT endpoint_id FROM t:callback WHERE peer = ? AND callback_url = ? LIMIT 1"
    )
    add_endpoint: str = (
        "INSERT INTO t:endpoint (id, tenant, url, options, created_at, updated_at) "
        "VALUES (?, ?, ?, ?, ?, ?)"
    )
    add_callback: str = (
        "INSERT INTO t:callback (id, channel, callback_url, endpoint_id, peer, format, "
        "created_at, renewed_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT DO NOTHING"
    )
    renew: str = "UPDATE t:callback SET renewed_at = ?, expires_at = ?, format = ? WHERE id = ?"
    revive: str = (
        "UPDATE t:endpoint SET state = 'enabled', disabled_at = NULL, disabled_reason = NULL, "
        "breaker = 'closed', breaker_opens = 0, failures = 0, failing_since = NULL, notice = 0, "
        "parked_until = 0, updated_at = ? WHERE id = ? AND state <> 'enabled'"
    )
    remove_callback: str = "DELETE FROM t:callback WHERE id = ?"
    unsubscribe: str = "DELETE FROM t:callback WHERE endpoint_id = ? AND channel = ?"
    unsubscribe_all: str = "DELETE FROM t:callback WHERE endpoint_id = ?"
    remove_empty: str = _EMPTY
    expired: str = (
        "SELECT id, endpoint_id FROM t:callback WHERE expires_at <= ? ORDER BY expires_at LIMIT ?"
    )

    listening: str = (
        f"SELECT {_CALLBACK}, e.state FROM t:callback c JOIN t:endpoint e ON e.id = c.endpoint_id "
        "WHERE c.channel {among} AND (c.expires_at IS NULL OR c.expires_at > ?)"
    )
    queue: str = (
        "INSERT INTO t:transmissions (id, endpoint_id, tenant, account_type, account_id, "
        "signal_name, signal_class, action, object_id, context, body, order_key, state, due_at, "
        f"created_at, finished_at, last_error) VALUES ({', '.join('?' * 17)}) "
        "ON CONFLICT DO NOTHING"
    )
    prepared: str = (
        "SELECT c.endpoint_id, c.channel, c.callback_url, c.peer, c.format "
        "FROM t:callback c WHERE c.endpoint_id {among} "
        "AND (c.expires_at IS NULL OR c.expires_at > ?)"
    )

    add_registration: str = (
        "INSERT INTO t:registration (source, channel, callback_url, renew_at, failures) "
        "VALUES (?, ?, ?, 0, 0) ON CONFLICT (source, channel) DO UPDATE SET "
        "callback_url = excluded.callback_url, renew_at = 0 "
        "WHERE t:registration.callback_url <> excluded.callback_url"
    )
    registrations: str = f"SELECT {_REGISTRATION} FROM t:registration ORDER BY source, channel"
    due: str = (
        f"SELECT {_REGISTRATION} FROM t:registration WHERE renew_at <= ? ORDER BY renew_at LIMIT ?"
    )
    take: str = (
        "UPDATE t:registration SET renew_at = ? WHERE source = ? AND channel = ? AND renew_at = ?"
    )
    registered: str = (
        "UPDATE t:registration SET registered_at = ?, renew_at = ?, failures = 0, status = ?, "
        "error = NULL WHERE source = ? AND channel = ?"
    )
    not_registered: str = (
        "UPDATE t:registration SET renew_at = ?, failures = failures + 1, status = ?, error = ? "
        "WHERE source = ? AND channel = ?"
    )
    forget_registration: str = "DELETE FROM t:registration WHERE source = ? AND channel = ?"

    accept: str = (
        "INSERT INTO t:inbox (source, delivery_id, handler, handled_at) VALUES (?, ?, ?, ?) "
        "ON CONFLICT DO NOTHING"
    )
    forget: str = "DELETE FROM t:inbox WHERE handled_at < ? AND source LIKE 'peer/%'"


@cache
def _statements(dialect: Dialect, schema: str) -> SiblingStatements:
    is_postgres = dialect is Dialect.POSTGRES
    among = "= ANY(?::text[])" if is_postgres else "IN (SELECT value FROM json_each(?))"
    made = {}
    for name, text in msgspec.structs.asdict(SiblingStatements()).items():
        statement = text.replace("{among}", among).replace("t:", f"{schema}trunkline_")
        if is_postgres:
            statement = statement.replace("(? = 0", "(?::int = 0")
        made[name] = in_dialect(dialect, statement)
    return SiblingStatements(**made)


def sibling_statements(database: Database) -> SiblingStatements:
    """Return the statements for a database."""
    return _statements(database.dialect, database.schema)
