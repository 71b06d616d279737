"""Every SQL statement about durable consumers, written once for both dialects."""

# ruff: noqa: S608 - statements are put together from constants and a checked schema name alone
from __future__ import annotations

from functools import cache
from typing import Final

import msgspec

from trunkline.sql.database import Dialect
from trunkline.sql.placeholders import in_dialect

_CHECKPOINT: Final = "line_epoch, position, told, turn, status, reason, moved_at"
_PARKED: Final = (
    "key, line_epoch, global_id, site_id, channel, message_id, published_at, data, audience, "
    "headers, attempts, error, due_at, parked_at"
)
_HELD: Final = "EXISTS (SELECT 1 FROM {p}trunkline_lease WHERE name = ? AND epoch = ?{share})"
_MINE: Final = "FROM {p}trunkline_consumer_parked WHERE consumer = ?"


class ConsumerStatements(msgspec.Struct, frozen=True):
    """Hold the statements, as SQLite takes them; ``{p}`` qualifies our tables.

    Parameters stand in the order of the placeholders.
    """

    declare: str = (
        "INSERT INTO {p}trunkline_consumer (name, interest, keep) VALUES (?, ?, ?) "
        "ON CONFLICT (name) DO UPDATE SET interest = excluded.interest, keep = excluded.keep"
    )
    definitions: str = "SELECT name, interest, keep FROM {p}trunkline_consumer ORDER BY name"
    begin: str = (
        "INSERT INTO {p}trunkline_checkpoint (name, line_epoch, position, told, moved_at) "
        "VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING"
    )
    read: str = f"SELECT {_CHECKPOINT} FROM {{p}}trunkline_checkpoint WHERE name = ?"
    read_holder: str = "SELECT holder FROM {p}trunkline_lease WHERE name = ?"
    holds: str = "SELECT 1 FROM {p}trunkline_lease WHERE name = ? AND epoch = ?"
    # The lease is looked at, and in PostgreSQL locked, in the very statement that moves on.
    move: str = (
        "UPDATE {p}trunkline_checkpoint SET line_epoch = ?, position = ?, told = ?, moved_at = ? "
        f"WHERE name = ? AND turn = ? AND (line_epoch <> ? OR position < ?) AND {_HELD}"
    )
    # Pausing doesn't undo what is under way, and moving doesn't undo a pause.
    set_status: str = "UPDATE {p}trunkline_checkpoint SET status = ?, reason = ? WHERE name = ?"
    decide: str = (
        "UPDATE {p}trunkline_checkpoint SET line_epoch = ?, position = ?, told = ?, status = ?, "
        "reason = ?, turn = turn + 1 WHERE name = ? AND turn = ?"
    )
    nudge: str = "UPDATE {p}trunkline_checkpoint SET turn = turn + 1 WHERE name = ?"
    note_gap: str = (
        "INSERT INTO {p}trunkline_consumer_gap (consumer, reason, position, floor, met_at) "
        "VALUES (?, ?, ?, ?, ?)"
    )
    drop_gaps: str = (
        "DELETE FROM {p}trunkline_consumer_gap WHERE consumer = ? AND seq <= "
        "(SELECT max(seq) FROM {p}trunkline_consumer_gap WHERE consumer = ?) - ?"
    )
    gaps: str = (
        "SELECT reason, position, floor, met_at FROM {p}trunkline_consumer_gap "
        "WHERE consumer = ? ORDER BY seq DESC LIMIT ?"
    )
    forget_parked: str = "DELETE FROM {p}trunkline_consumer_parked WHERE consumer = ?"
    forget_gaps: str = "DELETE FROM {p}trunkline_consumer_gap WHERE consumer = ?"
    forget_consumer: str = "DELETE FROM {p}trunkline_consumer WHERE name = ?"
    forget_checkpoint: str = "DELETE FROM {p}trunkline_checkpoint WHERE name = ?"

    park: str = (
        f"INSERT INTO {{p}}trunkline_consumer_parked (consumer, {_PARKED}) "
        f"VALUES ({', '.join('?' * 15)}) ON CONFLICT (consumer, line_epoch, global_id) DO NOTHING"
    )
    keys: str = f"SELECT DISTINCT key {_MINE}"
    count: str = f"SELECT count(*) {_MINE}"
    has_key: str = f"SELECT 1 {_MINE} AND key = ? LIMIT 1"
    due: str = f"SELECT seq, {_PARKED} {_MINE} AND due_at <= ? ORDER BY due_at, seq LIMIT ?"
    next_due: str = f"SELECT min(due_at) {_MINE}"
    parked: str = f"SELECT seq, {_PARKED} {_MINE} AND seq > ? ORDER BY seq LIMIT ?"
    aside: str = (
        f"SELECT global_id, attempts, error, due_at {_MINE} AND line_epoch = ? "
        "AND global_id BETWEEN ? AND ?"
    )
    put_off: str = (
        "UPDATE {p}trunkline_consumer_parked SET attempts = ?, error = ?, due_at = ? "
        "WHERE consumer = ? AND seq = ?"
    )
    find_key: str = f"SELECT key {_MINE} AND seq = ?"
    drop: str = f"DELETE {_MINE} AND seq = ?"
    # Whoever is first of its key now, and never failed, may be tried at once.
    promote: str = (
        "UPDATE {p}trunkline_consumer_parked SET due_at = 0 WHERE attempts = 0 AND seq = "
        f"(SELECT min(seq) {_MINE} AND key = ?)"
    )
    retry: str = (
        "UPDATE {p}trunkline_consumer_parked SET attempts = 0, due_at = 0 WHERE seq = ? AND seq = "
        f"(SELECT min(seq) {_MINE} AND key = ?)"
    )


@cache
def consumer_statements(dialect: Dialect, schema: str) -> ConsumerStatements:
    """Return the statements of a dialect.

    Args:
        dialect: Which SQL.
        schema: Qualifies table names, dot included; empty for none.
    """
    plain = ConsumerStatements()
    is_postgres = dialect is Dialect.POSTGRES

    def told(text: str) -> str:
        text = text.replace("{p}", schema).replace("{share}", " FOR SHARE" * is_postgres)
        return in_dialect(dialect, text)

    values: dict[str, str] = msgspec.structs.asdict(plain)
    return ConsumerStatements(**{name: told(text) for name, text in values.items()})
