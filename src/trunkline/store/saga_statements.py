"""Every SQL statement about sagas, process managers and their timers, for both dialects."""

# ruff: noqa: S608 - statements are put together from constants and a checked schema name alone
from __future__ import annotations

from functools import cache
from typing import Final

import msgspec

from trunkline.sql.database import Dialect
from trunkline.sql.placeholders import in_dialect

_SAGA: Final = (
    "id, kind, name, key, version, status, heading, body, context, error, owner, epoch, due_at, "
    "begun_at, moved_at"
)
_STEP: Final = (
    "number, name, status, attempts, undo, undo_data, undo_attempts, output, error, begun_at, "
    "ended_at"
)
_PROCESS: Final = "name, correlation, version, status, state, error, begun_at, moved_at"
_TIMER: Final = "correlation, name, due_at, data, serial, attempts"
_OPEN: Final = "status IN ('running', 'undoing')"


class SagaStatements(msgspec.Struct, frozen=True):
    """Hold the statements, as SQLite takes them; ``{p}`` qualifies our tables.

    Parameters stand in the order of the placeholders.
    """

    enlist: str = "INSERT INTO {p}trunkline_runner (id, beat, host) VALUES (?, 0, ?)"
    beat: str = "UPDATE {p}trunkline_runner SET beat = beat + 1 WHERE id = ?"
    discharge: str = "DELETE FROM {p}trunkline_runner WHERE id = ?"
    # A runner that died leaves its row until nothing is left that it owned.
    bury: str = (
        "DELETE FROM {p}trunkline_runner WHERE id = ? AND NOT EXISTS "
        "(SELECT 1 FROM {p}trunkline_saga WHERE owner = ?)"
    )
    beats: str = "SELECT id, beat, host FROM {p}trunkline_runner"

    begin: str = (
        f"INSERT INTO {{p}}trunkline_saga ({_SAGA}) VALUES ({', '.join('?' * 15)}) "
        "ON CONFLICT DO NOTHING"
    )
    find: str = f"SELECT {_SAGA} FROM {{p}}trunkline_saga WHERE id = ?"
    find_key: str = (
        f"SELECT {_SAGA} FROM {{p}}trunkline_saga WHERE kind = ? AND name = ? AND key = ? "
        "ORDER BY seq DESC LIMIT 1"
    )
    list_some: str = (
        f"SELECT {_SAGA} FROM {{p}}trunkline_saga WHERE kind = ? AND (? = '' OR status = ?) "
        "ORDER BY seq DESC LIMIT ?"
    )
    # The fence is looked at in the very statement that writes.
    move: str = (
        "UPDATE {p}trunkline_saga SET status = ?, heading = ?, body = ?, error = ?, owner = ?, "
        "due_at = ?, moved_at = ? WHERE id = ? AND epoch = ? AND status = ?"
    )
    # Whoever looks for work: what nobody owns, or what an owner left who stands still.
    waiting: str = (
        f"SELECT {_SAGA} FROM {{p}}trunkline_saga WHERE {_OPEN} AND due_at <= ? "
        "ORDER BY due_at, seq LIMIT ?"
    )
    unfinished: str = f"SELECT {_SAGA} FROM {{p}}trunkline_saga WHERE {_OPEN} ORDER BY seq LIMIT ?"
    take: str = (
        "UPDATE {p}trunkline_saga SET owner = ?, epoch = epoch + 1 "
        "WHERE id = ? AND epoch = ? AND status = ?"
    )
    let_go: str = (
        f"UPDATE {{p}}trunkline_saga SET owner = '', due_at = ? WHERE id = ? AND epoch = ? "
        f"AND {_OPEN}"
    )
    # An operator's decision deposes whoever is at work.
    decide: str = (
        "UPDATE {p}trunkline_saga SET status = ?, heading = ?, error = ?, owner = '', "
        "epoch = epoch + 1, due_at = ?, moved_at = ? WHERE id = ? AND epoch = ? AND status = ?"
    )
    forget_steps: str = (
        "DELETE FROM {p}trunkline_saga_step WHERE saga IN (SELECT id FROM {p}trunkline_saga "
        "WHERE status IN ('done', 'undone', 'abandoned') AND moved_at < ?)"
    )
    forget: str = (
        "DELETE FROM {p}trunkline_saga "
        "WHERE status IN ('done', 'undone', 'abandoned') AND moved_at < ?"
    )

    note_step: str = (
        f"INSERT INTO {{p}}trunkline_saga_step (saga, {_STEP}) VALUES ({', '.join('?' * 12)}) "
        "ON CONFLICT (saga, name) DO UPDATE SET status = excluded.status, "
        "attempts = excluded.attempts, undo = excluded.undo, undo_data = excluded.undo_data, "
        "undo_attempts = excluded.undo_attempts, output = excluded.output, "
        "error = excluded.error, ended_at = excluded.ended_at"
    )
    steps: str = f"SELECT {_STEP} FROM {{p}}trunkline_saga_step WHERE saga = ? ORDER BY number"

    # In PostgreSQL the row stays locked until the transaction ends.
    process: str = (
        f"SELECT {_PROCESS} FROM {{p}}trunkline_process WHERE name = ? AND correlation = ?{{lock}}"
    )
    save_process: str = (
        f"INSERT INTO {{p}}trunkline_process ({_PROCESS}) VALUES ({', '.join('?' * 8)}) "
        "ON CONFLICT (name, correlation) DO UPDATE SET version = excluded.version, "
        "status = excluded.status, state = excluded.state, error = excluded.error, "
        "begun_at = excluded.begun_at, moved_at = excluded.moved_at"
    )
    processes: str = (
        f"SELECT {_PROCESS} FROM {{p}}trunkline_process WHERE (? = '' OR name = ?) "
        "AND (? = '' OR status = ?) ORDER BY moved_at DESC, correlation LIMIT ?"
    )
    versions: str = (
        "SELECT name, version, count(*) FROM {p}trunkline_process WHERE status = 'active' "
        "GROUP BY name, version ORDER BY name, version"
    )
    set_timer: str = (
        f"INSERT INTO {{p}}trunkline_timer (process, {_TIMER}) VALUES ({', '.join('?' * 7)}) "
        "ON CONFLICT (process, correlation, name) DO UPDATE SET due_at = excluded.due_at, "
        "data = excluded.data, serial = excluded.serial, attempts = excluded.attempts"
    )
    drop_timer: str = (
        "DELETE FROM {p}trunkline_timer WHERE process = ? AND correlation = ? AND name = ?"
    )
    # Only the very timer that was seen due, not one that was set anew meanwhile.
    take_timer: str = (
        "DELETE FROM {p}trunkline_timer WHERE process = ? AND correlation = ? AND name = ? "
        "AND serial = ?"
    )
    drop_timers: str = "DELETE FROM {p}trunkline_timer WHERE process = ? AND correlation = ?"
    due_timers: str = (
        f"SELECT {_TIMER} FROM {{p}}trunkline_timer WHERE process = ? AND due_at <= ? "
        "ORDER BY due_at, correlation, name LIMIT ?"
    )
    timers: str = (
        f"SELECT {_TIMER} FROM {{p}}trunkline_timer WHERE process = ? AND correlation = ? "
        "ORDER BY due_at, name"
    )


@cache
def saga_statements(dialect: Dialect, schema: str) -> SagaStatements:
    """Return the statements of a dialect.

    Args:
        dialect: Which SQL.
        schema: Qualifies table names, dot included; empty for none.
    """
    is_postgres = dialect is Dialect.POSTGRES

    def told(text: str) -> str:
        text = text.replace("{p}", schema).replace("{lock}", " FOR UPDATE" * is_postgres)
        return in_dialect(dialect, text)

    values: dict[str, str] = msgspec.structs.asdict(SagaStatements())
    return SagaStatements(**{name: told(text) for name, text in values.items()})
