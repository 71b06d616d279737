"""What is kept of commands beside their events: results by key, snapshots, tags."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from trunkline.sql.database import Dialect, Row
from trunkline.store.command_statements import command_statements


class Session(Protocol):
    """Run statements, in a transaction or each by itself."""

    async def fetch(self, statement: str, *values: Any) -> Sequence[Row]:
        """Run a statement and return its rows."""


class Writing(Session, Protocol):
    """Run statements in a transaction."""

    async def execute(self, statement: str, *values: Any) -> int:
        """Run a statement and return how many rows it touched."""

    async def write(self, statement: str, *values: Any) -> None:
        """Run a statement before the next one that answers, or the end."""


class CommandRow(NamedTuple):
    """Be what is kept of a command under its key.

    Args:
        site_id: The tenant, empty for none.
        key: The key.
        command_id: The command's id.
        name: Its stored name.
        fingerprint: Of its name and fields.
        result: What it came to, JSON.
        at: When, Unix seconds.
    """

    site_id: str
    key: str
    command_id: str
    name: str
    fingerprint: bytes
    result: bytes
    at: float


class Known(NamedTuple):
    """Be what a key was used for."""

    command_id: str
    name: str
    fingerprint: bytes
    result: bytes


class Snapshot(NamedTuple):
    """Be a state as it was stored.

    Args:
        site_id: The tenant, empty for none.
        stream: The stream's channel.
        version: The stream's version it is of.
        format: The version of the state's type.
        state: JSON.
    """

    site_id: str
    stream: str
    version: int
    format: int
    state: bytes


class TagQuery(NamedTuple):
    """Ask for events that have all of some tags, and one of some types if any are named."""

    tags: tuple[str, ...]
    types: tuple[str, ...] = ()


class CommandTable:
    """Be these tables in one database.

    Args:
        dialect: Which SQL it speaks.
        schema: Qualifies table names.
    """

    def __init__(self, dialect: Dialect, schema: str) -> None:
        self._sql = command_statements(dialect, schema)
        self._is_sqlite = dialect is Dialect.SQLITE

    # -- results by key -----------------------------------------------------------------------

    async def find(self, session: Session, site_id: str | None, key: str) -> Known | None:
        """Return what a key was used for, or None."""
        rows = await session.fetch(self._sql.find, site_id or "", key)
        if not rows:
            return None
        return Known(rows[0][0], rows[0][1], bytes(rows[0][2]), bytes(rows[0][3]))

    async def add(self, session: Writing, rows: Sequence[CommandRow]) -> set[str]:
        """Keep results under their keys.

        Args:
            session: The commands' transaction. Where another one holds a key, it waits.
            rows: Those results.

        Returns:
            The ids of commands whose keys were free.
        """
        if self._is_sqlite or len(rows) == 1:
            return {row.command_id for row in rows if await session.execute(self._sql.add, *row)}
        added = await session.fetch(self._sql.add_many, *map(list, zip(*rows, strict=True)))
        return {row[0] for row in added}

    async def forget(self, session: Writing, before: float, limit: int) -> int:
        """Forget some keys that were used before a moment, and return how many."""
        return await session.execute(self._sql.forget, before, limit)

    # -- snapshots ----------------------------------------------------------------------------

    async def snapshots(
        self, session: Session, wanted: Sequence[tuple[str, str]]
    ) -> list[Snapshot]:
        """Return the snapshots of streams, given as pairs of tenant and channel."""
        if self._is_sqlite:
            rows = await session.fetch(self._sql.find_snapshots, _json(wanted))
        else:
            sites, streams = [one[0] for one in wanted], [one[1] for one in wanted]
            rows = await session.fetch(self._sql.find_snapshots, sites, streams)
        return [Snapshot(row[0], row[1], row[2], row[3], bytes(row[4])) for row in rows]

    async def save_snapshot(self, session: Writing, snapshot: Snapshot) -> None:
        """Keep a state, in place of an older one."""
        await session.write(self._sql.save_snapshot, *snapshot)

    # -- tags ---------------------------------------------------------------------------------

    async def add_tags(self, session: Writing, rows: Iterable[tuple[str, str, int, str]]) -> None:
        """Keep tags of events: tenant, tag, global id and type each."""
        for row in rows:
            await session.write(self._sql.add_tag, *row)

    async def tagged(
        self, session: Session, site_id: str | None, query: TagQuery, after: int
    ) -> list[int]:
        """Return the global ids of matching events after one, in order."""
        tags, types = list(query.tags), list(query.types)
        first = [site_id or "", tags[0], after]
        rows = await session.fetch(
            self._sql.tagged,
            *first,
            *((_json(types), _json(types), _json(tags), len(tags)) if self._is_sqlite else ()),
            *(() if self._is_sqlite else (types, tags)),
        )
        return [row[0] for row in rows]


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
