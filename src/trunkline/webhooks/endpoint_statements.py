"""The SQL of endpoints and recoveries as operators see them, written once for both dialects."""

# ruff: noqa: S608 - statements are put together from constants and a checked schema name alone
from __future__ import annotations

from functools import cache
from typing import Final

import msgspec

from trunkline.sql.database import Dialect
from trunkline.sql.placeholders import in_dialect

_ENDPOINT: Final = (
    "id, app_id, tenant, url, options, state, breaker, failures, parked_until, failing_since, "
    "succeeded_at, failed_at, disabled_at, disabled_reason"
)
_RECOVERY: Final = (
    "id, kind, endpoint_id, since, until, state, reached, last, found, created_at, updated_at"
)
_COPIED: Final = (
    "endpoint_id, app_id, tenant, account_type, account_id, signal_name, signal_class, action, "
    "object_id, context, body, order_key"
)
_AGAIN: Final = (
    "state = 'failed', due_at = ?, finished_at = NULL, tries = 0, lease_owner = NULL, "
    "lease_until = NULL, expires_at = NULL"
)


class EndpointStatements(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the statements, as SQLite takes them; ``{p}`` qualifies our tables."""

    list: str = f"SELECT {_ENDPOINT} FROM {{p}}trunkline_endpoint WHERE id > ? ORDER BY id LIMIT ?"
    show: str = f"SELECT {_ENDPOINT} FROM {{p}}trunkline_endpoint WHERE id = ?"
    counts: str = (
        "SELECT endpoint_id, state, count(*), min(CASE WHEN state <> 'sending' THEN due_at END) "
        "FROM {p}trunkline_transmissions WHERE due_at IS NOT NULL GROUP BY endpoint_id, state"
    )
    # A lane's first row is its longest due one; throttled and parked endpoints have lanes too.
    attempts: str = (
        "SELECT endpoint_id, outcome, count(*) FROM {p}trunkline_attempts WHERE started_at > ? "
        "GROUP BY endpoint_id, outcome"
    )
    enable: str = (
        "UPDATE {p}trunkline_endpoint SET state = 'enabled', disabled_at = NULL, "
        "disabled_reason = NULL, breaker = 'closed', breaker_opens = 0, failures = 0, "
        "failing_since = NULL, notice = 0, parked_until = 0, updated_at = ? WHERE id = ?"
    )
    disable: str = (
        "UPDATE {p}trunkline_endpoint SET state = 'disabled', disabled_at = ?, "
        "disabled_reason = ?, updated_at = ? WHERE id = ?"
    )
    find: str = "SELECT state FROM {p}trunkline_transmissions WHERE id = ?"
    again: str = (
        f"UPDATE {{p}}trunkline_transmissions SET {_AGAIN} "
        "WHERE id = ? AND state IN ('queued', 'failed', 'dead')"
    )
    copy: str = (
        f"INSERT INTO {{p}}trunkline_transmissions (id, {_COPIED}, state, due_at, created_at, "
        f"resend_of) SELECT ?, {_COPIED}, 'failed', ?, ?, id FROM {{p}}trunkline_transmissions "
        "WHERE id = ? AND state IN ('sent', 'withdrawn')"
    )
    begin: str = (
        "INSERT INTO {p}trunkline_recovery (id, kind, endpoint_id, since, until, last, "
        "created_at, updated_at) SELECT ?, ?, ?, ?, ?, coalesce(max(seq), 0), ?, ? "
        "FROM {p}trunkline_transmissions"
    )
    recoveries: str = (
        f"SELECT {_RECOVERY} FROM {{p}}trunkline_recovery ORDER BY created_at DESC LIMIT ?"
    )
    recovery: str = f"SELECT {_RECOVERY} FROM {{p}}trunkline_recovery WHERE id = ?"
    running: str = (
        f"SELECT {_RECOVERY} FROM {{p}}trunkline_recovery WHERE state = 'running' "
        "ORDER BY created_at LIMIT 1{lock}"
    )
    recover: str = (
        f"UPDATE {{p}}trunkline_transmissions SET {_AGAIN} WHERE seq > ? AND seq <= ? "
        "AND endpoint_id = ? AND created_at >= ? AND created_at < ? AND state = 'dead' "
        "AND (CASE WHEN attempts > 0 THEN 'recover' ELSE 'replay' END) = ?"
    )
    advance: str = (
        "UPDATE {p}trunkline_recovery SET reached = ?, found = found + ?, state = ?, "
        "updated_at = ? WHERE id = ? AND state = 'running'"
    )
    cancel: str = (
        "UPDATE {p}trunkline_recovery SET state = 'cancelled', updated_at = ? "
        "WHERE id = ? AND state = 'running'"
    )
    accept: str = (
        "INSERT INTO {p}trunkline_inbox (source, delivery_id, handler, handled_at) "
        "VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
    )
    forget: str = "DELETE FROM {p}trunkline_inbox WHERE handled_at < ?"


@cache
def endpoint_statements(dialect: Dialect, schema: str) -> EndpointStatements:
    """Return the statements of a dialect.

    Args:
        dialect: Which SQL.
        schema: Qualifies table names, dot included; empty for none.
    """
    is_postgres = dialect is Dialect.POSTGRES
    lock = " FOR UPDATE SKIP LOCKED" if is_postgres else ""
    made = {}
    for name, text in msgspec.structs.asdict(EndpointStatements()).items():
        statement = in_dialect(dialect, text.replace("{p}", schema).replace("{lock}", lock))
        if is_postgres:
            # A parameter that is only compared or selected has no type that could be inferred.
            statement = statement.replace("SELECT $1, $2, $3, $4, $5,", _TYPED_BEGIN)
            statement = statement.replace("0), $6, $7 FROM", "0), $6::float8, $7::float8 FROM")
            statement = statement.replace("SELECT $1, endpoint_id", "SELECT $1::text, endpoint_id")
            statement = statement.replace(
                "'failed', $2, $3, id", "'failed', $2::float8, $3::float8, id"
            )
        made[name] = statement
    return EndpointStatements(**made)


_TYPED_BEGIN: Final = "SELECT $1::text, $2::text, $3::text, $4::float8, $5::float8,"
