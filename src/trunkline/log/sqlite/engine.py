"""The SQLite engine's face: the port's methods, handed to those who do the work."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from trunkline.log.finding import Finding
from trunkline.log.joint import JointLog
from trunkline.log.paging import refuse_stream
from trunkline.log.port import (
    PAGE_SIZE,
    Cancel,
    ChannelState,
    Group,
    Heads,
    Outcome,
    Page,
    Wake,
)
from trunkline.log.possession import Possession, possessed
from trunkline.log.retention import Retention
from trunkline.log.sqlite import statements as sql
from trunkline.log.sqlite.appends import Appends
from trunkline.log.sqlite.books import LineBooks
from trunkline.log.sqlite.examination import examine
from trunkline.log.sqlite.joint import JointSQLiteTransaction
from trunkline.log.sqlite.location import Location, parse_location
from trunkline.log.sqlite.pages import NEAR_HEAD, Reading, TooFarError, states
from trunkline.log.sqlite.placement import Placement
from trunkline.log.sqlite.poller import Poller
from trunkline.log.sqlite.upkeep import Upkeep
from trunkline.log.watchers import Watchers
from trunkline.model.channel import ChannelKey
from trunkline.model.interest import Interest
from trunkline.model.position import EPOCH_BYTES
from trunkline.runtime.clock import Clock
from trunkline.sql.connections import check_library, check_place, connect, set_busy_timeout
from trunkline.sql.courtesy import Courtesy
from trunkline.sql.database import Dialect
from trunkline.sql.faults import fault_of, is_busy
from trunkline.sql.migrator import migrate, migrations, script, version_of
from trunkline.sql.opening import DatabasePlace
from trunkline.sql.readers import Readers, snapshot
from trunkline.sql.sqlite import SQLiteDatabase
from trunkline.sql.turnstile import Turnstile
from trunkline.sql.writer import WorkThread, Writer

T = TypeVar("T")

#: Seconds to wait, at an opening, for others who may be creating the same file.
CREATION_WAIT = 1.0


class _Parts(Possession):
    """Hold what exists only while the log is open."""

    def __init__(self, log_of: Location, turnstile: Turnstile) -> None:
        super().__init__()
        self.location = log_of
        self.turnstile = turnstile
        self.connections: list[sqlite3.Connection] = []
        #: Reads and polls on the loop.
        self.near: sqlite3.Connection
        self.near_reading = Reading(on_loop=True)
        self.reading = Reading(on_loop=False)
        self.thread: WorkThread
        self.writer: Writer
        self.readers: Readers
        self.placement: Placement
        self.appends: Appends
        self.database: SQLiteDatabase
        self.upkeep: Upkeep
        self.poller: Poller


class SQLiteLog(JointLog):
    """Keep the line in one SQLite file, which several processes may share.

    Args:
        location: The file and how to handle it.
        retention: Asked at every trim.
        clock: Tells the time.
    """

    schemes: ClassVar[tuple[str, ...]] = ("sqlite",)

    def __init__(self, location: Location, *, retention: Retention, clock: Clock) -> None:
        self._location = location
        self._retention = retention
        self._clock = clock
        self._watchers = Watchers()
        self._parts: _Parts | None = None
        self._heard = (-1, "")

    @classmethod
    def from_url(
        cls, url: str, *, retention: Retention, clock: Clock, options: Mapping[str, Any]
    ) -> Self:
        """Make a log from ``sqlite:///relative.db`` or ``sqlite:////absolute.db``."""
        return cls(parse_location(url, options), retention=retention, clock=clock)

    @classmethod
    def examine(cls, url: str, options: Mapping[str, Any]) -> Sequence[Finding]:
        """Look at the library, the disk and the file, and change nothing."""
        return examine(parse_location(url, options))

    async def open(self) -> None:
        """Open the file, and create or migrate what is missing in it."""
        if self._parts is not None:
            return
        loop = asyncio.get_running_loop()
        turnstile, writing, near = await asyncio.to_thread(_open, self._location)
        location = self._location
        parts = _Parts(location, turnstile)
        courtesy = Courtesy(loop)
        parts.connections = [writing, near]
        parts.near = near
        parts.thread = WorkThread("trunkline-write", loop, courtesy)
        parts.writer = Writer(
            writing,
            location.path,
            turnstile=turnstile,
            thread=parts.thread,
            busy_timeout=location.busy_timeout,
        )
        books = LineBooks(writing)
        parts.placement = Placement(
            books, retention=self._retention, clock=self._clock, told=self._hear
        )
        parts.appends = Appends(parts.writer, parts.placement)
        parts.database = SQLiteDatabase(
            parts.writer, near, location.path, busy_timeout=location.busy_timeout
        )
        parts.upkeep = Upkeep(parts.writer, books, self._retention)
        parts.readers = Readers(
            location.path,
            count=location.readers,
            busy_timeout=location.busy_timeout,
            courtesy=courtesy,
        )
        parts.poller = Poller(near, self._hear)
        self._watchers.bind(loop)
        self._parts = parts
        if self._watchers:
            parts.poller.start()

    async def close(self) -> None:
        """Finish accepted appends, then release the file."""
        parts, self._parts = self._parts, None
        if parts is None or not parts.is_ours:
            return
        parts.poller.stop()
        parts.appends.close()
        self._watchers.clear()
        await parts.writer.drain()
        parts.thread.stop()
        await asyncio.to_thread(_close, parts)

    async def append(self, groups: Sequence[Group]) -> Sequence[Outcome]:
        """Store groups of drafts, each whole or not at all."""
        return await self._open_parts().appends.put(groups)

    @classmethod
    def tables(cls, url: str, options: Mapping[str, Any]) -> DatabasePlace:
        """Say that it is SQLite, without a schema."""
        parse_location(url, options)
        return DatabasePlace(Dialect.SQLITE, "", None)

    @classmethod
    async def missing_steps(cls, url: str, options: Mapping[str, Any]) -> Sequence[str]:
        """Name the migrations that have not run yet; a missing file is left missing."""
        return await asyncio.to_thread(_missing_steps, parse_location(url, options))

    @classmethod
    def script(cls, url: str, options: Mapping[str, Any]) -> Iterator[str]:
        """Yield the statements that make the line's tables."""
        parse_location(url, options)
        return script(migrations("sqlite"))

    @property
    def database(self) -> SQLiteDatabase:
        """Return the file, while the log is open."""
        return self._open_parts().database

    @asynccontextmanager
    async def transaction(
        self, *, begins_late: bool = False
    ) -> AsyncIterator[JointSQLiteTransaction]:
        """Begin a transaction on the file, in the writer's turn."""
        del begins_late  # beginning is no round trip here
        parts = self._open_parts()
        async with parts.database.hold() as hold:
            yield JointSQLiteTransaction(hold, parts.placement)

    async def read(self, channel: ChannelKey, after: int, limit: int = PAGE_SIZE) -> Page:
        """Return messages of one channel with ids above *after*."""
        return await self._read(
            partial(Reading.channel_page, channel=channel, after=after, limit=limit)
        )

    async def read_all(
        self, after: int, limit: int = PAGE_SIZE, interest: Interest | None = None
    ) -> Page:
        """Return messages of all wanted channels with global ids above *after*."""
        call = partial(Reading.line_page, after=after, limit=limit, interest=interest)
        return await self._read(call, is_near=after >= self._heard[0] - NEAR_HEAD)

    async def last_ids(self, channels: Iterable[ChannelKey]) -> Heads:
        """Return the last ids of *channels* and of the line."""
        return await self._read(partial(Reading.heads, channels=list(channels)))

    async def _read(
        self, call: Callable[[Reading, sqlite3.Connection], T], *, is_near: bool = True
    ) -> T:
        """Read at once on the loop what is short and fresh, all else in a thread."""
        parts = self._open_parts()
        if is_near:
            try:
                return snapshot(parts.near, partial(call, parts.near_reading))
            except TooFarError:
                pass
            except sqlite3.Error as error:
                if not is_busy(error):
                    raise fault_of(error, self._location.path) from error
        return await parts.readers.run(partial(call, parts.reading))

    async def channels(
        self, after: ChannelKey | None = None, limit: int = PAGE_SIZE
    ) -> Sequence[ChannelState]:
        """Describe channels in the order of (site, name)."""
        readers = self._open_parts().readers
        return await readers.run(partial(states, after=after, limit=limit))

    async def trim(self, channel: ChannelKey, upto: int) -> int:
        """Make a plain channel's messages with ids ≤ *upto* unreadable."""
        refuse_stream(channel)
        return await self._open_parts().upkeep.trim(channel, upto)

    async def sweep(self) -> int:
        """Apply the limits by age, idleness and line size, and delete what trimming hid."""
        return await self._open_parts().upkeep.sweep(self._clock.now())

    async def reset(self, also: Sequence[str] = ()) -> str:
        """Erase everything and start a new epoch."""
        epoch = secrets.token_hex(EPOCH_BYTES)
        await self._open_parts().upkeep.reset(epoch, also)
        self._hear(0, epoch)
        return epoch

    def watch(self, wake: Wake) -> Cancel:
        """Call *wake* after every commit of this process, and soon after others'."""
        remove = self._watchers.add(wake)
        if self._parts is not None:
            self._parts.poller.start()

        def cancel() -> None:
            remove()
            if not self._watchers and self._parts is not None:
                self._parts.poller.stop()

        return cancel

    def _hear(self, head: int, epoch: str) -> bool:
        """Wake the watchers for a commit, unless they were woken for it already."""
        if (head, epoch) == self._heard:
            return False
        self._heard = (head, epoch)
        self._watchers.wake_now()
        return True

    def _open_parts(self) -> _Parts:
        return possessed(self._parts)


def _open(location: Location) -> tuple[Turnstile, sqlite3.Connection, sqlite3.Connection]:
    """Open the file's two own connections, with its tables in place. Blocks."""
    check_library()
    path = location.path
    check_place(path)
    turnstile = Turnstile(Path(f"{path}.turn"))
    made: list[sqlite3.Connection] = []
    try:
        _enter_for(turnstile, CREATION_WAIT)
        writing = connect(path, busy_timeout=location.busy_timeout)
        made.append(writing)
        migrate(writing, migrations("sqlite"), place=str(path))
        if writing.execute(sql.READ_LINE).fetchone() is None:
            writing.execute(sql.FOUND_LINE, (secrets.token_hex(EPOCH_BYTES),))
        near = connect(path, busy_timeout=location.busy_timeout, is_reader=True)
        made.append(near)
        set_busy_timeout(near, 0)
        turnstile.leave()
    except BaseException as error:
        for connection in made:
            connection.close()
        turnstile.close()
        if isinstance(error, sqlite3.Error):
            raise fault_of(error, path) from error
        raise
    return turnstile, writing, near


def _enter_for(turnstile: Turnstile, seconds: float) -> None:
    """Try to get the turn for a while.

    It only keeps processes that start together from creating the file against each other, which
    SQLite's own waiting does badly; without it they are still safe, so a turn that another
    process keeps must not stop anybody from opening a line to read it.
    """
    deadline = time.monotonic() + seconds
    while not turnstile.try_enter() and time.monotonic() < deadline:
        time.sleep(0.005)


def _missing_steps(location: Location) -> list[str]:
    version = 0
    if location.path.exists():
        connection = connect(location.path, busy_timeout=location.busy_timeout, is_reader=True)
        try:
            version = version_of(connection)
        finally:
            connection.close()
    return [f"{one.version} {one.name}" for one in migrations("sqlite") if one.version > version]


def _close(parts: _Parts) -> None:
    parts.readers.close()
    for connection in parts.connections:
        connection.close()
    parts.turnstile.close()
