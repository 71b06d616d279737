"""Traces and the tree of events as the store keeps them."""

# ruff: noqa: S608 - statements are put together from constants and a checked schema name alone
from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import msgspec

from trunkline.sql.database import Database, Dialect
from trunkline.sql.placeholders import in_dialect
from trunkline.store.consumer_table import Session

#: Rows that a look returns at most.
LIMIT = 10_000


class TraceRow(NamedTuple):
    """Be a kept trace; its steps are JSON."""

    command_id: str
    correlation: str
    causation: str
    domain: str
    name: str
    at: float
    seconds: float
    error: str
    steps: str


class RunRow(NamedTuple):
    """Be what is kept of an eventual handler's work on an event."""

    event_id: str
    handler: str
    correlation: str
    at: float
    seconds: float
    attempts: int
    error: str


class EventRow(NamedTuple):
    """Be an event in the tree of causes."""

    id: str
    global_id: int
    site_id: str
    channel: str
    message_id: int
    domain: str
    name: str
    command_id: str
    causation: str
    correlation: str
    at: float


_TRACE = ", ".join(TraceRow._fields)
_RUN = ", ".join(RunRow._fields)
_EVENT = ", ".join(EventRow._fields)


class _Statements(msgspec.Struct, frozen=True):
    keep: str = f"INSERT INTO {{p}}trunkline_trace ({_TRACE}) VALUES ({{9}}) ON CONFLICT DO NOTHING"
    note_run: str = (
        f"INSERT INTO {{p}}trunkline_trace_run AS r ({_RUN}) VALUES ({{7}}) "
        "ON CONFLICT (event_id, handler) DO UPDATE SET at = excluded.at, "
        "seconds = excluded.seconds, attempts = r.attempts + 1, error = excluded.error"
    )
    index: str = (
        f"INSERT INTO {{p}}trunkline_event ({_EVENT}) VALUES ({{11}}) ON CONFLICT DO NOTHING"
    )
    indexed: str = "SELECT coalesce(max(global_id), 0) FROM {p}trunkline_event"
    traces: str = f"SELECT {_TRACE} FROM {{p}}trunkline_trace WHERE correlation = ? ORDER BY at"
    trace: str = f"SELECT {_TRACE} FROM {{p}}trunkline_trace WHERE command_id = ?"
    runs: str = f"SELECT {_RUN} FROM {{p}}trunkline_trace_run WHERE event_id = ?"
    event: str = f"SELECT {_EVENT} FROM {{p}}trunkline_event WHERE id = ?"
    caused: str = (
        f"SELECT {_EVENT} FROM {{p}}trunkline_event WHERE causation = ? ORDER BY global_id LIMIT ?"
    )
    decided: str = (
        f"SELECT {_EVENT} FROM {{p}}trunkline_event WHERE command_id = ? ORDER BY global_id LIMIT ?"
    )
    related: str = (
        f"SELECT {_EVENT} FROM {{p}}trunkline_event WHERE correlation = ? "
        "ORDER BY global_id LIMIT ?"
    )
    forget: str = "DELETE FROM {p}trunkline_trace WHERE at < ?"
    forget_runs: str = "DELETE FROM {p}trunkline_trace_run WHERE at < ?"


@cache
def _statements(dialect: Dialect, schema: str) -> _Statements:
    def told(text: str) -> str:
        text = text.replace("{p}", schema)
        text = re.sub(r"\{(\d+)\}", lambda found: ", ".join("?" * int(found[1])), text)
        return in_dialect(dialect, text)

    values: dict[str, str] = msgspec.structs.asdict(_Statements())
    return _Statements(**{name: told(text) for name, text in values.items()})


class TraceTable:
    """Read and write traces.

    Args:
        database: Where, its tables in place.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = _statements(database.dialect, database.schema)

    async def keep(self, traces: Sequence[TraceRow], runs: Sequence[RunRow]) -> None:
        """Write traces, and what eventual handlers did."""
        async with self._database.transaction() as tx:
            if traces:
                await tx.execute_many(self._sql.keep, traces)
            if runs:
                await tx.execute_many(self._sql.note_run, runs)

    async def forget(self, before: float) -> None:
        """Forget what is older than a time, Unix seconds."""
        async with self._database.transaction() as tx:
            await tx.execute(self._sql.forget, before)
            await tx.execute(self._sql.forget_runs, before)

    async def index(self, tx: Session, events: Sequence[EventRow]) -> None:
        """Put events into the tree of causes; those that are there stay as they are."""
        await tx.execute_many(self._sql.index, events)

    async def indexed(self) -> int:
        """Return the newest global id in the tree."""
        return int((await self._database.fetch(self._sql.indexed))[0][0])

    async def traces(self, correlation: str) -> list[TraceRow]:
        """Return the kept traces of a tree of commands."""
        rows = await self._database.fetch(self._sql.traces, correlation)
        return [TraceRow(*row) for row in rows]

    async def trace(self, command_id: str) -> TraceRow | None:
        """Return the kept trace of one command, or None."""
        rows = await self._database.fetch(self._sql.trace, command_id)
        return TraceRow(*rows[0]) if rows else None

    async def runs(self, event_id: str) -> list[RunRow]:
        """Return what is kept of eventual handlers' work on an event."""
        return [RunRow(*row) for row in await self._database.fetch(self._sql.runs, event_id)]

    async def event(self, event_id: str) -> EventRow | None:
        """Return an event of the tree, or None."""
        rows = await self._database.fetch(self._sql.event, event_id)
        return EventRow(*rows[0]) if rows else None

    async def caused(self, cause: str) -> list[EventRow]:
        """Return the events that an event or command led to directly."""
        return await self._events(self._sql.caused, cause)

    async def decided(self, command_id: str) -> list[EventRow]:
        """Return the events that a command came to."""
        return await self._events(self._sql.decided, command_id)

    async def related(self, correlation: str) -> list[EventRow]:
        """Return the events of a whole tree."""
        return await self._events(self._sql.related, correlation)

    async def _events(self, statement: str, ident: str) -> list[EventRow]:
        rows = await self._database.fetch(statement, ident, LIMIT)
        return [EventRow(*row) for row in rows]
