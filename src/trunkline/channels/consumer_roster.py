"""The consumers that are declared in this process, and what runs them while the line is open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

from trunkline.channels.catchup import check_start
from trunkline.channels.consumer import Consumer, Start
from trunkline.channels.consumer_feed import Feed
from trunkline.channels.consumer_keeper import Keeper
from trunkline.channels.consumer_ledger import Ledger, Transact
from trunkline.channels.consumer_runner import ConsumerRunner
from trunkline.channels.hub import Hub
from trunkline.channels.transaction import LineTransaction
from trunkline.errors import ConfigError, UsageError
from trunkline.log.port import Log
from trunkline.log.retention import Retention
from trunkline.model.interest import Interest
from trunkline.model.position import Position
from trunkline.runtime.clock import Clock
from trunkline.sql.database import Database
from trunkline.store.consumer_table import ConsumerTable, Standing

#: Transactions that the consumers of a process have open at once. A database lends only so many
#: connections, and some are for others, such as those who show that a lease's holder lives.
PAGES = 4


class Workplace(NamedTuple):
    """Be what consumers work with.

    Args:
        log: The line's log.
        hub: This process's hub.
        retention: Says how long messages are kept.
        clock: Tells the time.
    """

    log: Log
    hub: Hub
    retention: Retention
    clock: Clock


class Roster:
    """Hold the declared consumers.

    Args:
        place: What they work with.
        transact: Begins a transaction that handlers may use.
        find_database: Finds the store's database, if there is one and it is open.
        every: Seconds between two looks for something to trim.
    """

    def __init__(
        self,
        place: Workplace,
        *,
        transact: Transact,
        find_database: Callable[[], Database | None],
        every: float,
    ) -> None:
        self.place = place
        self._transact = transact
        self._find_database = find_database
        self._every = every
        self._pages = asyncio.Semaphore(PAGES)
        self._declared: dict[str, Consumer] = {}
        self._runners: dict[str, ConsumerRunner] = {}

    def declare(self, consumer: Consumer) -> None:
        """Add a consumer of this process.

        Raises:
            ConfigError: The name is taken.
        """
        if consumer.name in self._declared:
            raise ConfigError(f"there is a consumer {consumer.name!r} already: name each once")
        self._declared[consumer.name] = consumer
        self.place.retention.hold(consumer.name, consumer.interest, consumer.keep)

    @property
    def database(self) -> Database:
        """Return the store's database.

        Raises:
            ConfigError: There is none.
        """
        found = self._find_database()
        if found is None:
            whose = f" ({', '.join(self._declared)})" if self._declared else ""
            raise ConfigError(
                f"durable consumers{whose} keep their checkpoints in a SQL database: use a log on "
                "SQLite or PostgreSQL, or set store= to a database beside this log"
            )
        return found

    async def open(self) -> None:
        """Check that the declared consumers have where to keep their checkpoints.

        Raises:
            ConfigError: They don't.
        """
        if self._declared:
            _ = self.database
        self._pages = asyncio.Semaphore(PAGES)
        await self._learn_holds()

    async def sweep(self) -> None:
        """Apply the limits of the line, knowing for whom trimming has to wait."""
        await self._learn_holds()
        await self.place.log.sweep()

    @property
    def declared(self) -> Sequence[Consumer]:
        """Return what was declared in this process."""
        return tuple(self._declared.values())

    def runners(self) -> Sequence[ConsumerRunner]:
        """Return what runs them, while the line is open."""
        for name, consumer in self._declared.items():
            if name not in self._runners:
                self._runners[name] = self._runner(consumer)
        return tuple(self._runners.values())

    def close(self) -> None:
        """Forget the runners: the next opening makes others."""
        self._runners.clear()

    def _runner(self, consumer: Consumer) -> ConsumerRunner:
        place, database = self.place, self.database
        keeper = None
        if consumer.keep is not None:
            keeper = Keeper(
                place.log,
                place.retention,
                ConsumerTable(database),
                interest=consumer.interest,
                clock=place.clock,
                every=self._every,
            )
        return ConsumerRunner(
            consumer,
            Ledger(consumer.name, database, self._transaction, place.clock),
            self._feed,
            begin=partial(begin, place.log, consumer.start, consumer.interest, place.clock),
            keeper=keeper,
        )

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[LineTransaction]:
        """Begin a transaction for a page, when it is its turn."""
        async with self._pages, self._transact() as tx:
            yield tx

    def _feed(self, consumer: Consumer, limit: int, moved: asyncio.Event) -> Feed:
        place = self.place
        return Feed(place.log, place.hub, consumer.interest, limit=limit, moved=moved)

    async def _learn_holds(self) -> None:
        """Learn for whom trimming has to wait, also if they are declared elsewhere."""
        retention, database = self.place.retention, self._find_database()
        if database is None:
            return
        known = {one.name: one for one in await ConsumerTable(database).definitions()}
        for name in retention.holds - known.keys() - self._declared.keys():
            retention.hold(name, Interest(), None)
        for name, one in known.items():
            if name not in self._declared and (one.keep or name in retention.holds):
                retention.hold(name, one.interest, one.keep)

    def poke(self, name: str) -> None:
        """Have a consumer look at once whether somebody decided something, if it runs here."""
        if name in self._runners:
            self._runners[name].poke()


async def begin(log: Log, start: Start, interest: Interest, clock: Clock) -> Standing:
    """Find where a consumer begins.

    Args:
        log: The open log.
        start: Where, as declared or asked for.
        interest: Which channels.
        clock: Tells the time.

    Raises:
        UsageError: The line has no such position.
    """
    now = clock.now()
    heads = await log.last_ids(())
    end = Position(heads.epoch, heads.head)
    if start == "now":
        return Standing(position=end, moved_at=now)
    if isinstance(start, Position):
        if (lost := check_start(start, *end)) is not None:
            raise UsageError(
                f"{start} is no position of this line as it is now, which ends at {end}: "
                f"begin at {lost.position}, oldest or now"
            )
        return Standing(position=start, moved_at=now)
    page = await log.read_all(0, 1, interest=interest)
    return Standing(position=Position(page.epoch, 0), told=page.floor, moved_at=now)
