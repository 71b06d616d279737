"""Building a projection from the log, beside the one that readers see, and taking its place.

Pages of events go into tables with names of their own; how far they have come is committed with
them, so a build that is killed goes on where it was. At the end, in one transaction, nobody else
can write to the live tables; the rest is taken, and the tables change places. The way of blue and
green deployments, as described by Martin Fowler (BlueGreenDeployment, 2010).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from trunkline.channels.transaction import LineTransaction
from trunkline.channels.wing import WingedBus
from trunkline.cqrs.errors import ProjectionError
from trunkline.cqrs.handler import Handler
from trunkline.cqrs.hearing import EVENTS
from trunkline.cqrs.naming import Naming, versioned
from trunkline.cqrs.reaction import Reaction
from trunkline.errors import LeaseLostError, TrunklineError
from trunkline.log.joint import JointLog, JointTransaction
from trunkline.log.port import Page
from trunkline.model.channel import STREAM_PREFIX
from trunkline.model.position import Position
from trunkline.runtime.clock import Clock
from trunkline.sql.database import Dialect
from trunkline.store.consumer_table import ConsumerTable, Definition, Standing, Status
from trunkline.store.lease import Lease
from trunkline.store.projection_table import Build, Live, ProjectionTable

#: Events of one transaction at most: others wait for it on SQLite.
PAGE = 1000
#: Milliseconds that it waits for those who write to the live tables.
PATIENCE = 2000


class BuildProgress(NamedTuple):
    """Say how far a build has come.

    Args:
        name: The projection's.
        position: The last global id it is done with.
        head: The newest one of the log.
        events: How many events it has taken.
        is_live: Whether readers see it now.
    """

    name: str
    position: int
    head: int
    events: int
    is_live: bool = False

    @property
    def share(self) -> float:
        """Return how much of the log it is done with, from 0 to 1."""
        return min(1.0, self.position / self.head) if self.head else 1.0


Tell = Callable[[BuildProgress], None]
MakeReaction = Callable[[Handler, Naming], Reaction]


class Yard(NamedTuple):
    """Be where projections are built.

    Args:
        bus: Begins transactions.
        log: The log.
        table: Keeps what is built.
        consumers: Keeps where eventual handlers stand.
        clock: Tells the time.
        reaction: Makes what runs a handler on some tables.
    """

    bus: WingedBus
    log: JointLog
    table: ProjectionTable
    consumers: ConsumerTable
    clock: Clock
    reaction: MakeReaction


class Builder:
    """Build one projection and make it live.

    Args:
        handler: Its projector, with tables.
        consumer: The name of its consumer; None for a strong one.
        yard: Where.
        tell: Told of every page.
    """

    def __init__(
        self, handler: Handler, consumer: str | None, yard: Yard, *, tell: Tell | None = None
    ) -> None:
        self._handler = handler
        self._consumer = consumer
        self._yard = yard
        self._tell = tell
        name = f"projection:{handler.name}"
        self._lease = Lease(yard.table.database, name, clock=yard.clock)

    async def run(self) -> BuildProgress:
        """Build it, or go on with a build that was left, until readers see it.

        Returns:
            How it ended.

        Raises:
            ProjectionError: Its code failed on an event; what readers see is as before.
            LeaseLostError: Somebody else builds it.
            LogError: The database failed.
        """
        if not await self._lease.try_acquire():
            raise LeaseLostError(
                f"another process builds {self._handler.name}: wait for it, or for 3 seconds "
                "after its death"
            )
        try:
            build = await self._begin()
            reaction = self._yard.reaction(
                self._handler, Naming.built(self._handler.tables, build.build)
            )
            try:
                build = await self._catch_up(build, reaction)
                return await self._go_live(build, reaction)
            except ProjectionError as error:
                now = self._yard.clock.now()
                await self._yard.table.fail(self._handler.name, build, error=str(error), now=now)
                raise
        finally:
            await self._lease.release()

    # -- beginning ----------------------------------------------------------------------------

    async def _begin(self) -> Build:
        handler, yard = self._handler, self._yard
        name, version = handler.name, handler.version
        heads = await yard.log.last_ids(())
        async with yard.bus.transaction() as tx:
            await self._check(tx)
            left = await yard.table.build(name, tx)
            if left is not None:
                is_same = left.version == version and left.position.epoch == heads.epoch
                if is_same and not left.error:
                    return left
                await drop_tables(tx, Naming.built(handler.tables, left.build).names.values())
                await yard.table.drop_build(tx, name)
            now = yard.clock.now()
            build = await yard.table.begin_build(tx, name, version, epoch=heads.epoch, now=now)
            await make_tables(tx, handler, Naming.built(handler.tables, build.build))
        return build

    async def _check(self, tx: LineTransaction) -> None:
        await self._lease.check(tx.unit.transaction)

    # -- building -----------------------------------------------------------------------------

    async def _catch_up(self, build: Build, reaction: Reaction) -> Build:
        """Take pages, the next one being read meanwhile, to the end of the log."""
        page = await self._read(build.position)
        while True:
            build, following = await self._take_and_read(page, build, reaction)
            self._report(build, page.head)
            if page.upto >= page.head:
                return build
            page = following

    async def _take_and_read(
        self, page: Page, build: Build, reaction: Reaction
    ) -> tuple[Build, Page]:
        failure: Exception | None = None
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._try_read(Position(page.epoch, page.upto)))
            try:
                build = await self._take(page, build, reaction)
            except Exception as error:  # noqa: BLE001 - raised below, without the group around it
                failure = error
                reading.cancel()
        if failure is not None:
            raise failure
        following = reading.result()
        if isinstance(following, TrunklineError):
            raise following
        return build, following

    async def _try_read(self, position: Position) -> Page | TrunklineError:
        try:
            return await self._read(position)
        except TrunklineError as error:
            return error

    async def _read(self, position: Position) -> Page:
        log = self._yard.log
        if self._yard.table.database.dialect is not Dialect.SQLITE:
            return await log.read_all(position.global_id, PAGE, interest=EVENTS)
        # In one file, looking ahead for the wanted channels costs more than reading the others.
        page = await log.read_all(position.global_id, PAGE)
        events = [one for one in page.records if one.channel.name.startswith(STREAM_PREFIX)]
        return msgspec.structs.replace(page, records=events)

    async def _take(self, page: Page, build: Build, reaction: Reaction) -> Build:
        await self._lease.keep()
        async with self._yard.bus.transaction() as tx:
            await self._check(tx)
            count = await reaction.project(page.records, tx)
            build = self._moved(build, page, count)
            await self._yard.table.move(tx, self._handler.name, build)
        return build

    def _moved(self, build: Build, page: Page, count: int) -> Build:
        return build._replace(
            position=Position(page.epoch, page.upto),
            events=build.events + count,
            moved_at=self._yard.clock.now(),
        )

    def _report(self, build: Build, head: int, *, is_live: bool = False) -> BuildProgress:
        position = build.position.global_id
        told = BuildProgress(
            self._handler.name, position, max(head, position), build.events, is_live
        )
        if self._tell is not None:
            self._tell(told)
        return told

    # -- going live ---------------------------------------------------------------------------

    async def _go_live(self, build: Build, reaction: Reaction) -> BuildProgress:
        """Take the rest while nobody writes to the live tables, and change places."""
        yard, handler = self._yard, self._handler
        async with yard.bus.transaction() as tx:
            await self._check(tx)
            live = (await yard.table.live(tx))[handler.name]
            await lock_tables(tx, live.tables)
            await self._stop_others(tx)
            build = await self._take_rest(build, reaction, tx)
            await self._swap(tx, live, build)
            if self._consumer is not None:
                await self._move_consumer(tx, build)
        return self._report(build, build.position.global_id, is_live=True)

    async def _stop_others(self, tx: LineTransaction) -> None:
        """Let no event be appended past a strong projector that has no table to write to.

        Those who append hold locks on tables first, and so do we.
        """
        if self._consumer is None:
            joint: JointTransaction = tx.unit.transaction  # type: ignore[assignment]
            await joint.hold_tail()

    async def _take_rest(self, build: Build, reaction: Reaction, tx: LineTransaction) -> Build:
        while True:
            page = await self._read(build.position)
            count = await reaction.project(page.records, tx)
            build = self._moved(build, page, count)
            if page.upto >= page.head:
                return build

    async def _swap(self, tx: LineTransaction, live: Live, build: Build) -> None:
        handler = self._handler
        await tx.unit.transaction.flush()
        await drop_tables(tx, live.tables)
        for name, built in Naming.built(handler.tables, build.build).names.items():
            await tx.execute(f"ALTER TABLE {built} RENAME TO {name}")
        now = self._yard.clock.now()
        new = live._replace(
            version=build.version,
            position=build.position,
            tables=tuple(handler.tables),
            live_at=now,
        )
        await self._yard.table.go_live(tx, new)

    async def _move_consumer(self, tx: LineTransaction, build: Build) -> None:
        """Have the eventual handler go on where the build ended, with nothing set aside."""
        consumers, name = self._yard.consumers, self._consumer or ""
        start = Standing(position=build.position, moved_at=self._yard.clock.now())
        await consumers.declare_in(tx, Definition(name, EVENTS, None), start)
        standing = await consumers.standing(name, tx) or start
        new = msgspec.structs.replace(
            standing, position=build.position, told=0, status=Status.RUNNING, reason=""
        )
        await consumers.decide_in(tx, name, new)
        await consumers.forget_parked(tx, name)
        await self._stop_older(tx)

    async def _stop_older(self, tx: LineTransaction) -> None:
        """Have older versions' handlers stop, wherever they still run: the tables aren't theirs."""
        consumers = self._yard.consumers
        for version in range(1, self._handler.version):
            name = versioned(self._handler.name, version)
            standing = await consumers.standing(name, tx)
            if standing is not None:
                why = f"version {self._handler.version} is live"
                stopped = msgspec.structs.replace(standing, status=Status.STOPPED, reason=why)
                await consumers.decide_in(tx, name, stopped)


async def make_tables(tx: LineTransaction, handler: Handler, naming: Naming) -> None:
    """Make a projection's tables.

    Args:
        tx: The transaction.
        handler: Whose.
        naming: What they are called.
    """
    for statements in handler.tables.values():
        for statement in statements:
            await tx.execute(naming.text(statement))


async def drop_tables(tx: LineTransaction, names: object) -> None:
    """Drop tables that may be there."""
    for name in names:  # type: ignore[attr-defined]
        await tx.execute(f"DROP TABLE IF EXISTS {name}")


async def lock_tables(tx: LineTransaction, names: Sequence[str]) -> None:
    """Wait until nobody else writes to tables, and let nobody until the end of the transaction.

    On SQLite there is nobody else. Readers go on: they wait only for the exchange itself.
    """
    if tx.dialect is not Dialect.POSTGRES:
        return
    await tx.execute(f"SET LOCAL lock_timeout = {PATIENCE}")
    for name in sorted(names):
        if await tx.fetch("SELECT 1 WHERE to_regclass($1) IS NOT NULL", name):
            await tx.execute(f"LOCK TABLE {name} IN EXCLUSIVE MODE")
