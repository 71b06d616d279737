"""Every SQL statement of the delivery, in both dialects, each in this one place."""

# ruff: noqa: S608 - statements are put together from constants and a checked schema name alone
from __future__ import annotations

from functools import cache
from typing import Final

import msgspec

from trunkline.sql.database import Dialect
from trunkline.webhooks.claims import WAITING

_T: Final = "{p}trunkline_transmissions"
#: What of a transmission is read when it is claimed, but for its due time before.
COLUMNS: Final = (
    "seq, id, endpoint_id, app_id, tenant, account_type, account_id, signal_name, signal_class, "
    "action, object_id, context, body, order_key, attempts, lease_epoch, created_at, expires_at, "
    "tries"
)
_ATTEMPT: Final = (
    "transmission_id, endpoint_id, number, started_at, outcome, status, error, timing, request, "
    "request_body, response_headers, response_body"
)
_HEALTH: Final = (
    "breaker, breaker_opens, failures, parked_until, failing_since, succeeded_at, failed_at, "
    "notice, disabled_at, disabled_reason"
)
_IS_HEADED: Final = (
    "t.order_key IS NOT NULL AND EXISTS (SELECT 1 FROM {p}trunkline_transmissions o "
    "WHERE o.endpoint_id = t.endpoint_id AND o.order_key = t.order_key "
    "AND o.due_at IS NOT NULL AND o.seq < t.seq)"
)
_LANE: Final = "due_at IS NOT NULL AND (endpoint_id, tenant) > "
_IN_LANES: Final = "ORDER BY endpoint_id, tenant, due_at, seq LIMIT 1"


class DeliveryStatements(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the statements of one dialect."""

    plan: str
    look: str
    newest: str
    endpoints: str
    pick: str
    pick_ids: str
    claim: str
    record: str
    attempt: str
    wake_next: str
    sleeping: str
    wake: str
    set_health: str
    sweep: str
    release: str


@cache
def statements_for(dialect: Dialect, schema: str) -> DeliveryStatements:
    """Return the statements.

    Args:
        dialect: Which SQL.
        schema: Qualifies table names, dot included; empty for none.
    """
    made = _SQLITE if dialect is Dialect.SQLITE else _POSTGRES
    return DeliveryStatements(
        **{name: text.replace("{p}", schema) for name, text in msgspec.structs.asdict(made).items()}
    )


_AGAIN: Final = "(state = 'sending')"


def _claimed(mark: str, ends: str, again: str) -> str:
    """Return what a claim sets; one that a dead process held has made an attempt."""
    return (
        f"state = 'sending', due_at = {ends}, lease_until = {ends}, lease_owner = {mark}, "
        f"lease_epoch = lease_epoch + 1, attempts = attempts + {again}, tries = tries + {again}"
    )


# One lane after another, each found by the index in one step: the cost is the number of lanes,
# however much is queued in them (a "loose index scan", wiki.postgresql.org).
_NEXT: Final = (
    f"SELECT n.seq FROM {_T} n WHERE n.due_at IS NOT NULL "
    "AND (n.endpoint_id, n.tenant) > (c.endpoint_id, c.tenant) "
    "ORDER BY n.endpoint_id, n.tenant, n.due_at, n.seq LIMIT 1"
)

_SQLITE: Final = DeliveryStatements(
    plan="",
    look=(
        f"WITH RECURSIVE lane(seq) AS (SELECT (SELECT seq FROM {_T} WHERE {_LANE} (?, ?) "
        f"{_IN_LANES}) UNION ALL SELECT ({_NEXT}) FROM lane JOIN {_T} c USING (seq) LIMIT ?) "
        f"SELECT t.endpoint_id, t.tenant, t.due_at FROM lane JOIN {_T} t USING (seq)"
    ),
    newest=f"SELECT max(seq) FROM {_T}",
    endpoints=(
        f"SELECT id, app_id, tenant, url, options, state, {_HEALTH} FROM {{p}}trunkline_endpoint "
        "WHERE id IN (SELECT value FROM json_each(?))"
    ),
    pick=(
        f"SELECT t.seq, t.due_at, t.state, {_IS_HEADED} AS waits FROM {_T} t "
        "WHERE t.endpoint_id = ? AND t.tenant = ? AND t.due_at <= ? "
        "ORDER BY t.due_at, t.seq LIMIT ?"
    ),
    pick_ids=(
        f"SELECT t.seq, t.due_at, t.state, 0 AS waits FROM {_T} t "
        "WHERE t.id IN (SELECT value FROM json_each(?)) AND t.state = 'queued'"
    ),
    claim=(
        f"UPDATE {_T} SET {_claimed('?1', '?2', _AGAIN)} "
        f"WHERE seq IN (SELECT value FROM json_each(?3)) RETURNING {COLUMNS}"
    ),
    record=(
        f"UPDATE {_T} SET state = ?, due_at = ?, finished_at = ?, last_status = ?, "
        "last_error = ?, attempts = attempts + ?, tries = tries + ?, lease_owner = NULL, "
        "lease_until = NULL WHERE seq = ? AND lease_epoch = ? AND state = 'sending'"
    ),
    attempt=(f"INSERT INTO {{p}}trunkline_attempts ({_ATTEMPT}) VALUES ({', '.join('?' * 12)})"),
    wake_next=(
        f"UPDATE {_T} SET due_at = ?1 WHERE seq = (SELECT min(seq) FROM {_T} "
        "WHERE endpoint_id = ?2 AND order_key = ?3 AND due_at IS NOT NULL) "
        f"AND due_at >= {WAITING:.0f}"
    ),
    sleeping=(
        f"SELECT min(seq) AS seq FROM {_T} WHERE due_at IS NOT NULL AND order_key IS NOT NULL "
        "GROUP BY endpoint_id, order_key LIMIT ?"
    ),
    wake=(
        f"UPDATE {_T} SET due_at = ?1 WHERE seq IN (SELECT value FROM json_each(?2)) "
        f"AND due_at >= {WAITING:.0f}"
    ),
    set_health=(
        "UPDATE {p}trunkline_endpoint SET breaker = ?, breaker_opens = ?, failures = ?, "
        "parked_until = ?, failing_since = ?, succeeded_at = ?, failed_at = ?, notice = ?, "
        "disabled_at = ?, disabled_reason = ?, state = ?, served_at = ? "
        "WHERE id = ? AND state = 'enabled'"
    ),
    sweep=(
        f"UPDATE {_T} SET state = 'dead', due_at = NULL, finished_at = ?1, last_error = ?2 "
        f"WHERE seq IN (SELECT seq FROM {_T} WHERE endpoint_id = ?3 AND due_at IS NOT NULL "
        "AND state <> 'sending' ORDER BY tenant, due_at, seq LIMIT ?4)"
    ),
    release=(
        f"UPDATE {_T} SET state = 'failed', "
        "due_at = ?1, lease_owner = NULL, lease_until = NULL "
        "WHERE seq = ?2 AND lease_epoch = ?3 AND state = 'sending'"
    ),
)

_R: Final = "unnest($1::text[], $2::text[], $3::int[]) AS r(endpoint_id, tenant, room)"

_POSTGRES: Final = DeliveryStatements(
    # A new table has no statistics, and a plan made for it reads all of it, however large it is.
    plan=(
        "SELECT set_config('enable_seqscan', 'off', true), "
        "set_config('enable_bitmapscan', 'off', true), set_config('enable_hashjoin', 'off', true), "
        "set_config('enable_mergejoin', 'off', true)"
    ),
    look=(
        f"WITH RECURSIVE lane(seq) AS (SELECT (SELECT seq FROM {_T} WHERE {_LANE} "
        f"($1::text, $2::text) {_IN_LANES}) UNION ALL SELECT ({_NEXT}) "
        f"FROM lane JOIN {_T} c USING (seq)) "
        f"SELECT t.endpoint_id, t.tenant, t.due_at FROM lane JOIN {_T} t USING (seq) LIMIT $3"
    ),
    newest=_SQLITE.newest,
    endpoints=(
        f"SELECT id, app_id, tenant, url, options, state, {_HEALTH} FROM {{p}}trunkline_endpoint "
        "WHERE id = ANY($1::text[])"
    ),
    pick=(
        "SELECT d.seq, d.due_at, d.state, d.waits FROM " + _R + " CROSS JOIN LATERAL ("
        f"SELECT t.seq, t.due_at, t.state, {_IS_HEADED} AS waits FROM {_T} t "
        "WHERE t.endpoint_id = r.endpoint_id AND t.tenant = r.tenant AND t.due_at <= $4 "
        "ORDER BY t.due_at, t.seq LIMIT r.room FOR UPDATE SKIP LOCKED) d"
    ),
    pick_ids=(
        f"SELECT t.seq, t.due_at, t.state, false AS waits FROM {_T} t "
        "WHERE t.id = ANY($1::text[]) AND t.state = 'queued' FOR UPDATE SKIP LOCKED"
    ),
    claim=(
        f"UPDATE {_T} SET {_claimed('$1', '$2', _AGAIN + '::int')} "
        f"WHERE seq = ANY($3::bigint[]) RETURNING {COLUMNS}"
    ),
    record=(
        f"UPDATE {_T} t SET state = x.state, due_at = x.due_at, finished_at = x.finished_at, "
        "last_status = x.status, last_error = x.error, attempts = t.attempts + x.made, "
        "tries = t.tries + x.made, lease_owner = NULL, lease_until = NULL "
        "FROM unnest($1::text[], $2::float8[], $3::float8[], $4::int[], $5::text[], $6::int[], "
        "$7::bigint[], $8::bigint[]) "
        "AS x(state, due_at, finished_at, status, error, made, seq, epoch) "
        "WHERE t.seq = x.seq AND t.lease_epoch = x.epoch AND t.state = 'sending' RETURNING t.seq"
    ),
    attempt=(
        f"INSERT INTO {{p}}trunkline_attempts ({_ATTEMPT}) SELECT * FROM unnest($1::text[], "
        "$2::text[], $3::int[], $4::float8[], $5::text[], $6::int[], $7::text[], $8::text[], "
        "$9::text[], $10::bytea[], $11::text[], $12::bytea[])"
    ),
    wake_next=(
        f"UPDATE {_T} SET due_at = $1 WHERE seq = (SELECT min(seq) FROM {_T} "
        "WHERE endpoint_id = $2 AND order_key = $3 AND due_at IS NOT NULL) "
        f"AND due_at >= {WAITING:.0f}"
    ),
    sleeping=_SQLITE.sleeping.replace("?", "$1"),
    wake=(f"UPDATE {_T} SET due_at = $1 WHERE seq = ANY($2::bigint[]) AND due_at >= {WAITING:.0f}"),
    set_health=(
        "UPDATE {p}trunkline_endpoint SET breaker = $1, breaker_opens = $2, failures = $3, "
        "parked_until = $4, failing_since = $5, succeeded_at = $6, failed_at = $7, notice = $8, "
        "disabled_at = $9, disabled_reason = $10, state = $11, served_at = $12 "
        "WHERE id = $13 AND state = 'enabled'"
    ),
    sweep=(
        f"UPDATE {_T} SET state = 'dead', due_at = NULL, finished_at = $1, last_error = $2 "
        f"WHERE seq IN (SELECT seq FROM {_T} WHERE endpoint_id = $3 AND due_at IS NOT NULL "
        "AND state <> 'sending' ORDER BY tenant, due_at, seq LIMIT $4 FOR UPDATE SKIP LOCKED)"
    ),
    release=(
        f"UPDATE {_T} SET state = 'failed', "
        "due_at = $1, lease_owner = NULL, lease_until = NULL "
        "WHERE seq = $2 AND lease_epoch = $3 AND state = 'sending'"
    ),
)
