"""The SQL of apps, connections, secrets and the list of transmissions: each written once.

Statements are written with ``?`` and numbered for PostgreSQL; only what differs is written
twice. None has a literal question mark.
"""

# ruff: noqa: S608 - statements are put together from constants and a checked schema name alone
from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import msgspec

from trunkline.sql.database import Database, Dialect
from trunkline.sql.placeholders import in_dialect

_APP: Final = (
    "a.id, a.name, a.description, a.indicator, a.entry_url, e.url, a.signals, a.account_types, "
    "a.configuration, a.options, e.id, e.state, a.created_at, a.updated_at"
)
_CONNECTION: Final = (
    "c.id, c.app_id, a.name, c.account_type, c.account_id, c.signals, c.declined, a.signals, "
    "c.created_at, c.updated_at"
)
_TRANSMISSION: Final = (
    "seq, id, endpoint_id, app_id, account_type, account_id, signal_name, signal_class, action, "
    "object_id, context, order_key, state, attempts, created_at, due_at, finished_at, "
    "last_status, last_error, resend_of"
)
_ATTEMPT: Final = (
    "number, started_at, outcome, status, error, timing, request, request_body, "
    "response_headers, response_body"
)
#: States of what is over and was not given up.
_OVER: Final = "('sent', 'withdrawn')"


class Statements(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the statements of one dialect, for tables in one schema."""

    add_app: str
    app: str
    app_of_indicator: str
    apps: str
    change_app: str
    remove_app: str
    remove_connections: str
    remove_app_secrets: str
    remove_keys: str
    remove_endpoint: str
    withdraw_app: str

    add_endpoint: str
    change_endpoint: str
    change_url: str

    add_secret: str
    secrets: str
    expire_secrets: str
    forget_secrets: str
    add_key: str
    keys: str
    remove_key: str

    add_connection: str
    connection: str
    locked_connection: str
    connection_between: str
    connections: str
    change_connection: str
    remove_connection: str

    listening: str
    queue: str
    queued_by_id: str
    queued_by_identity: str

    prepared_apps: str
    prepared_grants: str
    prepared_secrets: str

    transmissions: str
    transmission: str
    attempts: str
    overfull: str
    withdraw_oldest: str
    counts: str
    purgeable: str
    purge_attempts: str
    purge: str

    use_entry: str
    forget_entries: str


@cache
def statements_for(dialect: Dialect, schema: str) -> Statements:
    """Return the statements.

    Args:
        dialect: Which SQL.
        schema: Qualifies table names, dot included; empty for none.
    """
    is_postgres = dialect is Dialect.POSTGRES
    written = {
        **_apps(),
        **_secrets(),
        **_connections(is_postgres),
        **_preparing(is_postgres),
        **_transmissions(is_postgres),
    }
    return Statements(
        **{
            name: in_dialect(dialect, text.replace("t:", f"{schema}trunkline_"))
            for name, text in written.items()
        }
    )


def listed(dialect: Dialect, values: list[str]) -> Any:
    """Return a list of texts as the one value that a statement takes."""
    if dialect is Dialect.POSTGRES:
        return values
    return msgspec.json.encode(values).decode()


def paired(dialect: Dialect, accounts: Sequence[tuple[str, str]]) -> tuple[Any, ...]:
    """Return accounts, each by kind and id, as the values that a statement takes."""
    if dialect is Dialect.POSTGRES:
        return [kind for kind, _ in accounts], [ident for _, ident in accounts]
    return (msgspec.json.encode(accounts).decode(),)


def statements_of(database: Database) -> Statements:
    """Return the statements for a database."""
    return statements_for(database.dialect, database.schema)


def _apps() -> dict[str, str]:
    joined = "FROM t:app a LEFT JOIN t:endpoint e ON e.app_id = a.id"
    return {
        "add_app": "INSERT INTO t:app (id, name, description, indicator, entry_url, signals, "
        "account_types, configuration, options, created_at, updated_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        "app": f"SELECT {_APP} {joined} WHERE a.id = ?",
        "app_of_indicator": f"SELECT {_APP} {joined} WHERE a.indicator = ?",
        "apps": f"SELECT {_APP} {joined} WHERE a.id > ? ORDER BY a.id LIMIT ?",
        "change_app": "UPDATE t:app SET name = ?, description = ?, indicator = ?, entry_url = ?, "
        "signals = ?, account_types = ?, configuration = ?, options = ?, "
        "updated_at = ? WHERE id = ?",
        "remove_app": "DELETE FROM t:app WHERE id = ?",
        "remove_connections": "DELETE FROM t:connection WHERE app_id = ?",
        "remove_app_secrets": "DELETE FROM t:app_secret WHERE app_id = ?",
        "remove_keys": "DELETE FROM t:app_key WHERE app_id = ?",
        "remove_endpoint": "DELETE FROM t:endpoint WHERE app_id = ?",
        "withdraw_app": "UPDATE t:transmissions SET state = 'withdrawn', due_at = NULL, "
        "finished_at = ?, last_error = 'the app was removed' "
        "WHERE app_id = ? AND state IN ('queued', 'failed')",
        "add_endpoint": "INSERT INTO t:endpoint (id, app_id, url, options, created_at, "
        "updated_at) VALUES (?, ?, ?, ?, ?, ?)",
        "change_endpoint": "UPDATE t:endpoint SET options = ?, updated_at = ? WHERE app_id = ?",
        # Another address is another receiver: what was held against the old one is forgotten.
        "change_url": "UPDATE t:endpoint SET url = ?, state = 'enabled', disabled_at = NULL, "
        "disabled_reason = NULL, notice = 0, failing_since = NULL, breaker = 'closed', "
        "breaker_opens = 0, failures = 0, parked_until = 0, updated_at = ? WHERE app_id = ?",
    }


def _secrets() -> dict[str, str]:
    return {
        "add_secret": "INSERT INTO t:app_secret (id, app_id, purpose, sealed, hint, created_at) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        "secrets": "SELECT id, purpose, sealed, hint, created_at, expires_at FROM t:app_secret "
        "WHERE app_id = ? AND (expires_at IS NULL OR expires_at > ?) "
        "ORDER BY created_at DESC, id",
        "expire_secrets": "UPDATE t:app_secret SET expires_at = ? WHERE app_id = ? AND "
        "purpose = ? AND id <> ? AND (expires_at IS NULL OR expires_at > ?)",
        "forget_secrets": "DELETE FROM t:app_secret WHERE expires_at <= ?",
        "add_key": "INSERT INTO t:app_key (fingerprint, app_id, public_pem, created_at) "
        "VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        "keys": "SELECT fingerprint, public_pem, created_at FROM t:app_key WHERE app_id = ? "
        "ORDER BY created_at, fingerprint",
        "remove_key": "DELETE FROM t:app_key WHERE app_id = ? AND fingerprint = ?",
        "use_entry": "INSERT INTO t:entry (jti, expires_at) VALUES (?, ?) ON CONFLICT DO NOTHING",
        "forget_entries": "DELETE FROM t:entry WHERE expires_at <= ?",
    }


def _connections(is_postgres: bool) -> dict[str, str]:  # noqa: FBT001
    joined = "FROM t:connection c JOIN t:app a ON a.id = c.app_id"
    return {
        "add_connection": "INSERT INTO t:connection (id, app_id, account_type, account_id, "
        "signals, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        "connection": f"SELECT {_CONNECTION} {joined} WHERE c.id = ?",
        "locked_connection": f"SELECT {_CONNECTION} {joined} WHERE c.id = ?"
        + (" FOR UPDATE OF c" if is_postgres else ""),
        "connection_between": f"SELECT {_CONNECTION} {joined} "
        "WHERE c.app_id = ? AND c.account_type = ? AND c.account_id = ?",
        "connections": f"SELECT {_CONNECTION} {joined} WHERE c.id > ? "
        "AND (? = '' OR c.app_id = ?) AND (? = '' OR (c.account_type = ? AND c.account_id = ?)) "
        "ORDER BY c.id LIMIT ?",
        "change_connection": "UPDATE t:connection SET signals = ?, declined = ?, updated_at = ? "
        "WHERE id = ?",
        "remove_connection": "DELETE FROM t:connection WHERE id = ?",
        # The account is in the join, wildcards or not: nothing crosses from one to another.
        "listening": "SELECT c.account_type, c.account_id, c.signals, c.app_id, e.id, e.state "
        f"FROM {_accounts(is_postgres)} "
        "JOIN t:endpoint e ON e.app_id = c.app_id",
    }


def _accounts(is_postgres: bool) -> str:  # noqa: FBT001
    """Return the connections of accounts given as :func:`paired` gives them.

    SQLite would begin with all connections of a kind, unless it is told where to begin.
    """
    if is_postgres:
        return (
            "unnest(?::text[], ?::text[]) AS w (kind, id) "
            "JOIN t:connection c ON c.account_type = w.kind AND c.account_id = w.id"
        )
    return (
        "json_each(?) AS w CROSS JOIN t:connection c "
        "ON c.account_type = json_extract(w.value, '$[0]') "
        "AND c.account_id = json_extract(w.value, '$[1]')"
    )


def _preparing(is_postgres: bool) -> dict[str, str]:  # noqa: FBT001
    among = "= ANY(?::text[])" if is_postgres else "IN (SELECT value FROM json_each(?))"
    return {
        "prepared_apps": f"SELECT id, url, options FROM t:endpoint WHERE id {among}",
        # By account, which has few apps: an app may have very many accounts.
        "prepared_grants": "SELECT c.app_id, c.account_type, c.account_id, c.signals "
        f"FROM {_accounts(is_postgres)}",
        "prepared_secrets": "SELECT id, app_id, purpose, sealed FROM t:app_secret "
        f"WHERE app_id {among} AND purpose <> 'entry' "
        "AND (expires_at IS NULL OR expires_at > ?) ORDER BY created_at DESC, id",
        "queued_by_id": "SELECT id FROM t:transmissions WHERE state = 'queued' "
        f"AND id {among} ORDER BY seq",
        "queued_by_identity": "SELECT id FROM t:transmissions WHERE state = 'queued' "
        f"AND endpoint_id {among} AND collapse = ? ORDER BY seq",
        "queue": "INSERT INTO t:transmissions (id, endpoint_id, app_id, tenant, account_type, "
        "account_id, signal_name, signal_class, action, object_id, context, collapse, "
        "order_key, state, due_at, created_at, finished_at, last_error) VALUES "
        f"({', '.join('?' * 18)}) ON CONFLICT DO NOTHING",
    }


def _transmissions(is_postgres: bool) -> dict[str, str]:  # noqa: FBT001
    among = "= ANY(?::text[])" if is_postgres else "IN (SELECT value FROM json_each(?))"
    return {
        "transmissions": f"SELECT {_TRANSMISSION} FROM t:transmissions WHERE seq < ? "
        "AND (? = '' OR state = ?) AND (? = '' OR app_id = ?) "
        "AND (? = '' OR (account_type = ? AND account_id = ?)) ORDER BY seq DESC LIMIT ?",
        "transmission": f"SELECT {_TRANSMISSION} FROM t:transmissions WHERE id = ?",
        "attempts": f"SELECT {_ATTEMPT} FROM t:attempts WHERE transmission_id = ? ORDER BY seq",
        "overfull": "SELECT endpoint_id, count(*) FROM t:transmissions "
        "WHERE due_at IS NOT NULL GROUP BY endpoint_id HAVING count(*) > ?",
        "withdraw_oldest": "UPDATE t:transmissions SET state = 'withdrawn', due_at = NULL, "
        "finished_at = ?, last_error = ? WHERE seq IN (SELECT seq FROM t:transmissions "
        "WHERE endpoint_id = ? AND due_at IS NOT NULL AND state <> 'sending' "
        "ORDER BY seq LIMIT ?)",
        "counts": "SELECT state, count(*) FROM t:transmissions GROUP BY state",
        "purgeable": "SELECT id FROM t:transmissions WHERE finished_at < ? "
        f"AND (state IN {_OVER} OR (? = 1 AND state = 'dead')) ORDER BY finished_at LIMIT ?",
        "purge_attempts": f"DELETE FROM t:attempts WHERE transmission_id {among} AND NOT EXISTS "
        "(SELECT 1 FROM t:transmissions x WHERE x.id = transmission_id)",
        "purge": f"DELETE FROM t:transmissions WHERE id {among} "
        "AND state NOT IN ('queued', 'sending', 'failed')",
    }
