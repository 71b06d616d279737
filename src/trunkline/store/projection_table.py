"""Projections as the store keeps them: which version is live, and what is built beside it."""

# ruff: noqa: S608 - statements are put together from constants and a checked schema name alone
from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import msgspec

from trunkline.model.position import Position
from trunkline.sql.database import Database, Dialect
from trunkline.sql.placeholders import in_dialect
from trunkline.store.consumer_table import Session

_BUILD = "version, build, line_epoch, global_id, events, begun_at, moved_at, error"


class Live(NamedTuple):
    """Be the projection that readers see.

    Args:
        name: Its handler's.
        version: The version of its tables.
        builds: How many rebuilds were begun.
        position: Where it stood when it went live.
        tables: The names of its tables.
        live_at: When it went live, Unix seconds; 0 while it has not seen what is older.
    """

    name: str
    version: int
    builds: int
    position: Position
    tables: tuple[str, ...]
    live_at: float


class Build(NamedTuple):
    """Be a projection that is built beside the live one.

    Args:
        version: The version of its tables.
        build: The number in its tables' names.
        position: The last event that it is done with.
        events: How many it has taken.
        begun_at: When it was begun, Unix seconds.
        moved_at: When it last moved.
        error: Why it stands still, or an empty text.
    """

    version: int
    build: int
    position: Position
    events: int
    begun_at: float
    moved_at: float
    error: str


class _Statements(msgspec.Struct, frozen=True):
    live: str = (
        "SELECT name, version, builds, line_epoch, global_id, tables, live_at "
        "FROM {p}trunkline_projection"
    )
    begin: str = (
        "INSERT INTO {p}trunkline_projection VALUES (?, ?, 0, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
    )
    count_build: str = "UPDATE {p}trunkline_projection SET builds = builds + 1 WHERE name = ?"
    builds: str = "SELECT builds FROM {p}trunkline_projection WHERE name = ?"
    begin_build: str = (
        "INSERT INTO {p}trunkline_projection_build VALUES (?, ?, ?, ?, 0, 0, ?, ?, '')"
    )
    build: str = f"SELECT {_BUILD} FROM {{p}}trunkline_projection_build WHERE name = ?"
    move: str = (
        "UPDATE {p}trunkline_projection_build SET line_epoch = ?, global_id = ?, events = ?, "
        "moved_at = ?, error = '' WHERE name = ? AND build = ?"
    )
    fail: str = (
        "UPDATE {p}trunkline_projection_build SET error = ?, moved_at = ? "
        "WHERE name = ? AND build = ?"
    )
    go_live: str = (
        "UPDATE {p}trunkline_projection SET version = ?, line_epoch = ?, global_id = ?, "
        "tables = ?, live_at = ? WHERE name = ?"
    )
    drop_build: str = "DELETE FROM {p}trunkline_projection_build WHERE name = ?"
    forget: str = "DELETE FROM {p}trunkline_projection WHERE name = ?"


@cache
def _statements(dialect: Dialect, schema: str) -> _Statements:
    values: dict[str, str] = msgspec.structs.asdict(_Statements())
    return _Statements(
        **{name: in_dialect(dialect, text.replace("{p}", schema)) for name, text in values.items()}
    )


class ProjectionTable:
    """Read and write what is kept of projections.

    Args:
        database: Where, its tables in place.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._sql = _statements(database.dialect, database.schema)

    async def live(self, session: Session | None = None) -> dict[str, Live]:
        """Return all projections that readers see, by name."""
        rows = await (session or self.database).fetch(self._sql.live)
        return {
            row[0]: Live(
                row[0],
                row[1],
                row[2],
                Position(row[3], row[4]),
                tuple(msgspec.json.decode(row[5])),
                row[6],
            )
            for row in rows
        }

    async def begin(self, tx: Session, one: Live) -> bool:
        """Note a new projection; tell whether there was none of its name.

        Another process that does so too waits for this transaction's end.
        """
        row = (one.name, one.version, *one.position, _json(one.tables), one.live_at)
        return bool(await tx.execute(self._sql.begin, *row))

    async def begin_build(
        self, tx: Session, name: str, version: int, *, epoch: str, now: float
    ) -> Build:
        """Note that a projection is built anew, in tables with the next number."""
        await tx.execute(self._sql.count_build, name)
        number = (await tx.fetch(self._sql.builds, name))[0][0]
        await tx.execute(self._sql.begin_build, name, version, number, epoch, now, now)
        return Build(version, number, Position(epoch, 0), 0, now, now, "")

    async def build(self, name: str, session: Session | None = None) -> Build | None:
        """Return what is being built of a projection, or None."""
        for row in await (session or self.database).fetch(self._sql.build, name):
            return Build(row[0], row[1], Position(row[2], row[3]), *row[4:])
        return None

    async def move(self, tx: Session, name: str, one: Build) -> None:
        """Note how far a build has come."""
        await tx.execute(self._sql.move, *one.position, one.events, one.moved_at, name, one.build)

    async def fail(self, name: str, one: Build, *, error: str, now: float) -> None:
        """Note why a build stands still."""
        async with self.database.transaction() as tx:
            await tx.execute(self._sql.fail, error, now, name, one.build)

    async def go_live(self, tx: Session, one: Live) -> None:
        """Note that readers see another version from now on, and that nothing is being built."""
        row = (one.version, *one.position, _json(one.tables), one.live_at, one.name)
        await tx.execute(self._sql.go_live, *row)
        await tx.execute(self._sql.drop_build, one.name)

    async def drop_build(self, tx: Session, name: str) -> None:
        """Forget what was being built."""
        await tx.execute(self._sql.drop_build, name)

    async def forget(self, tx: Session, name: str) -> None:
        """Forget a projection; its tables are the caller's matter."""
        await tx.execute(self._sql.drop_build, name)
        await tx.execute(self._sql.forget, name)


def _json(names: Sequence[str]) -> str:
    return msgspec.json.encode(list(names)).decode()
