"""The PostgreSQL engine's face: the port's methods, handed to those who do the work."""

from __future__ import annotations

import asyncio
import secrets
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, Self

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
from trunkline.log.postgres import statements as sql
from trunkline.log.postgres.appends import Appends
from trunkline.log.postgres.examination import examine
from trunkline.log.postgres.herald import Herald
from trunkline.log.postgres.joint import JointPostgresTransaction, JointTransactions, Tailing
from trunkline.log.postgres.pages import Reading
from trunkline.log.postgres.tail import Seen, Tail
from trunkline.log.postgres.turns import Answer
from trunkline.log.postgres.upkeep import Upkeep
from trunkline.log.retention import Retention
from trunkline.log.watchers import Watchers
from trunkline.model.channel import ChannelKey
from trunkline.model.interest import Interest
from trunkline.model.position import EPOCH_BYTES
from trunkline.runtime.clock import Clock
from trunkline.runtime.crew import Crew
from trunkline.runtime.loops import supervise
from trunkline.sql.database import Dialect
from trunkline.sql.migrator import migrations
from trunkline.sql.opening import DatabasePlace
from trunkline.sql.postgres.address import Address, parse_address
from trunkline.sql.postgres.database import Connection, Database, check_server
from trunkline.sql.postgres.faults import FAILURES, fault_of
from trunkline.sql.postgres.migrator import migrate, script, version_of
from trunkline.sql.postgres.pool import Pool
from trunkline.sql.postgres.transactions import PostgresDatabase, transaction_address


class _Parts(Possession):
    """Hold what exists only while the log is open."""

    def __init__(self) -> None:
        super().__init__()
        self.crew = Crew("trunkline-postgres")
        self.tail: Tail
        self.pool: Pool
        self.appends: Appends
        self.upkeep: Upkeep
        self.herald: Herald
        self.lending: Pool
        self.joint: JointTransactions


class PostgresLog(JointLog):
    """Keep the line in a PostgreSQL database, which many processes may share.

    Args:
        address: The database and how to handle it.
        retention: Asked at every trim.
        clock: Tells the time.
    """

    schemes: ClassVar[tuple[str, ...]] = ("postgresql", "postgres")

    def __init__(self, address: Address, *, retention: Retention, clock: Clock) -> None:
        self._address = address
        self._retention = retention
        self._clock = clock
        self._watchers = Watchers()
        self._reading = Reading(address)
        self._seen = Seen()
        self._parts: _Parts | None = None

    @classmethod
    def from_url(
        cls, url: str, *, retention: Retention, clock: Clock, options: Mapping[str, Any]
    ) -> Self:
        """Make a log from ``postgresql://user@host:port/database?schema=…``."""
        return cls(parse_address(url, options), retention=retention, clock=clock)

    @classmethod
    def examine(cls, url: str, options: Mapping[str, Any]) -> Sequence[Finding]:
        """Look at the server, its settings and the line's tables, and change nothing."""
        return examine(parse_address(url, options))

    async def open(self) -> None:
        """Connect, and create or migrate what is missing."""
        if self._parts is not None:
            return
        database = Database(self._address)
        connection, name = await _prepare(database)
        lock_key = self._address.lock_key
        if lock_key is None:
            lock_key = _lock_key(name, self._address.schema)
        topic = f"trunkline_{lock_key & 0xFFFFFFFF:08x}"
        self._seen = Seen()
        parts = _Parts()
        parts.tail = Tail(database, self._clock, lock_key=lock_key, topic=topic, seen=self._seen)
        await parts.tail.adopt(connection)
        parts.pool = Pool(database, self._address.readers)
        parts.upkeep = Upkeep(parts.pool, self._address, self._retention, parts.tail.lock)
        parts.appends = Appends(
            parts.tail, self._retention, patience=self._address.patience, told=self._stored
        )
        parts.herald = Herald(database, topic, self._hear)
        self._lend(parts)
        self._watchers.bind(asyncio.get_running_loop())
        await parts.crew.open()
        parts.crew.start("appends", parts.appends.run)
        parts.crew.start("herald", parts.herald.run)
        parts.crew.start("erasing", lambda: supervise("erasing", parts.upkeep.run))
        self._parts = parts
        if self._watchers:
            parts.herald.start()

    def _lend(self, parts: _Parts) -> None:
        """Prepare what transactions need; their connections are made when asked for."""
        address, tail = self._address, parts.tail
        parts.lending = Pool(Database(transaction_address(address)), address.transactions)
        parts.joint = JointTransactions(
            PostgresDatabase(address, parts.lending, parts.pool),
            Tailing(address, tail.lock, tail.topic, self._retention, self._clock),
            reading=parts.pool,
            told=self._stored,
        )

    async def close(self) -> None:
        """Finish accepted appends, then let the server go."""
        parts, self._parts = self._parts, None
        if parts is None or not parts.is_ours:
            return
        parts.herald.stop()
        parts.appends.close()
        self._watchers.clear()
        await parts.appends.drain()
        await parts.crew.close()
        await parts.lending.close()
        await parts.pool.close()
        await parts.tail.close()

    async def append(self, groups: Sequence[Group]) -> Sequence[Outcome]:
        """Store groups of drafts, each whole or not at all."""
        return await self._open_parts().appends.put(groups)

    @classmethod
    def tables(cls, url: str, options: Mapping[str, Any]) -> DatabasePlace:
        """Say that it is PostgreSQL, and the schema."""
        address = parse_address(url, options)
        return DatabasePlace(Dialect.POSTGRES, f"{address.quoted_schema}.", None)

    @classmethod
    async def missing_steps(cls, url: str, options: Mapping[str, Any]) -> Sequence[str]:
        """Name the migrations that have not run yet."""
        address = parse_address(url, options)
        database = Database(address)
        connection = await database.connect()
        try:
            version = await version_of(connection, address)
        except FAILURES as error:
            raise fault_of(error, address) from error
        finally:
            await database.give_back(connection)
        steps = migrations("postgres")
        return [f"{one.version} {one.name}" for one in steps if one.version > version]

    @classmethod
    def script(cls, url: str, options: Mapping[str, Any]) -> Iterator[str]:
        """Yield the statements that make the line's schema, tables and functions."""
        return script(migrations("postgres"), parse_address(url, options))

    @property
    def database(self) -> PostgresDatabase:
        """Return the database, while the log is open."""
        return self._open_parts().joint.database

    def transaction(
        self, *, begins_late: bool = False
    ) -> AbstractAsyncContextManager[JointPostgresTransaction]:
        """Begin a transaction that can append at its end."""
        return self._open_parts().joint.begin(is_late=begins_late)

    async def read(self, channel: ChannelKey, after: int, limit: int = PAGE_SIZE) -> Page:
        """Return messages of one channel with ids above *after*."""

        async def work(connection: Connection) -> Page:
            return await self._reading.channel_page(connection, channel, after, limit)

        return await self._open_parts().pool.run(work)

    async def read_all(
        self, after: int, limit: int = PAGE_SIZE, interest: Interest | None = None
    ) -> Page:
        """Return messages of all wanted channels with global ids above *after*."""

        async def work(connection: Connection) -> Page:
            head = self._seen.head
            return await self._reading.line_page(connection, after, limit, interest, head)

        return await self._open_parts().pool.run(work)

    async def last_ids(self, channels: Iterable[ChannelKey]) -> Heads:
        """Return the last ids of *channels* and of the line."""
        asked = list(dict.fromkeys(channels))

        async def work(connection: Connection) -> Heads:
            return await self._reading.heads(connection, asked)

        return await self._open_parts().pool.run(work)

    async def channels(
        self, after: ChannelKey | None = None, limit: int = PAGE_SIZE
    ) -> Sequence[ChannelState]:
        """Describe channels in the order of (site, name)."""

        async def work(connection: Connection) -> Sequence[ChannelState]:
            return await self._reading.states(connection, after, limit)

        return await self._open_parts().pool.run(work)

    async def trim(self, channel: ChannelKey, upto: int) -> int:
        """Make a plain channel's messages with ids ≤ *upto* unreadable."""
        refuse_stream(channel)
        return await self._open_parts().upkeep.trim(channel, upto)

    async def sweep(self) -> int:
        """Apply the limits by age, idleness and line size, and delete what trimming hid."""
        return await self._open_parts().upkeep.sweep(self._clock.now())

    async def reset(self, also: Sequence[str] = ()) -> str:
        """Erase everything and start a new epoch."""
        parts = self._open_parts()
        epoch = secrets.token_hex(EPOCH_BYTES)
        if also:
            async with parts.joint.begin() as tx:
                for statement in also:
                    await tx.execute(statement)
                await tx.reset(epoch)
        else:
            await parts.upkeep.reset(parts.tail.topic, epoch)
        self._hear(epoch, 0, 0.0)
        return epoch

    def watch(self, wake: Wake) -> Cancel:
        """Call *wake* after every commit of this process, and soon after others'."""
        remove = self._watchers.add(wake)
        if self._parts is not None:
            self._parts.herald.start()

        def cancel() -> None:
            remove()
            if not self._watchers and self._parts is not None:
                self._parts.herald.stop()

        return cancel

    def _stored(self, answer: Answer, count: int) -> None:
        """Note a turn of this process that was committed."""
        parts = self._parts
        if parts is not None and answer.hidden:
            parts.upkeep.note_hidden(answer.hidden)
        self._hear(answer.epoch, answer.head + count, None)

    def _hear(self, epoch: str, head: int, published_at: float | None) -> bool:
        """Wake the watchers for a commit, unless they were woken for it already."""
        seen = self._seen
        if epoch == seen.epoch and head <= seen.head:
            return False
        seen.note(epoch, head, published_at)
        self._watchers.wake_now()
        return True

    def _open_parts(self) -> _Parts:
        return possessed(self._parts)


async def _prepare(database: Database) -> tuple[Connection, str]:
    """Connect with the tables in place; return the connection and the database's name."""
    address = database.address
    connection = await database.connect()
    try:
        await check_server(connection, address)
        await migrate(connection, migrations("postgres"), address)
        name = await connection.fetchval("SELECT current_database()")
        await connection.fetchrow(address.sql(sql.READ_NEWS))
    except BaseException as error:
        database.discard(connection)
        if isinstance(error, FAILURES):
            raise fault_of(error, address) from error
        raise
    return connection, name


def _lock_key(database: str, schema: str) -> int:
    """Derive the advisory lock's second half: a signed integer of 32 bits."""
    return zlib.crc32(f"{database}/{schema}".encode()) - 2**31
