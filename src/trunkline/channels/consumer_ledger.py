"""What one consumer may write while it holds its lease: its standing and its parked messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager

import msgspec

from trunkline.channels.transaction import LineTransaction
from trunkline.model.position import Position
from trunkline.runtime.clock import Clock
from trunkline.sql.database import Database
from trunkline.store.consumer_table import (
    ConsumerTable,
    Definition,
    Fence,
    MetGap,
    Session,
    Standing,
    Status,
)
from trunkline.store.lease import Lease
from trunkline.store.parked_table import ParkedMessage, ParkedTable

_NOWHERE = Standing(
    position=Position("", 0), turn=-1, status=Status.STOPPED, reason="it was forgotten"
)

Transact = Callable[[], AbstractAsyncContextManager[LineTransaction]]


class Ledger:
    """Write what holds of one consumer, every time together with a look at its lease.

    Args:
        name: The consumer's name.
        database: The store's.
        transact: Begins a transaction that handlers may use.
        clock: Tells the time.
    """

    def __init__(self, name: str, database: Database, transact: Transact, clock: Clock) -> None:
        self.name = name
        self.clock = clock
        self.transact = transact
        self.lease = Lease(database, f"consumer:{name}", clock=clock)
        self._database = database
        self._table = ConsumerTable(database)
        self._parked = ParkedTable(database)

    @property
    def fence(self) -> Fence:
        """Return what every write is checked against."""
        return Fence(f"consumer:{self.name}", self.lease.epoch)

    async def declare(
        self, definition: Definition, begin: Callable[[], Awaitable[Standing]]
    ) -> Standing:
        """Note who the consumer is, and return where it stands.

        Args:
            definition: As declared.
            begin: Finds where one begins that is new.
        """
        known = await self._table.standing(self.name)
        await self._table.declare(definition, known or await begin())
        return await self.standing()

    async def standing(self) -> Standing:
        """Return where the consumer stands; stopped if it was forgotten."""
        return await self._table.standing(self.name) or _NOWHERE

    async def is_ours(self) -> bool:
        """Tell whether the lease is still ours."""
        return await self._table.holds(self.fence)

    async def blocked(self) -> set[str]:
        """Return the keys whose messages must wait."""
        return await self._parked.keys(self.name)

    async def count(self) -> int:
        """Count the messages that are parked or wait behind those."""
        return await self._parked.count(self.name)

    async def has_key(self, key: str) -> bool:
        """Tell whether messages of a key are parked."""
        return await self._parked.has_key(self.name, key)

    async def due(self, limit: int) -> Sequence[ParkedMessage]:
        """Return parked messages that may be tried now."""
        return await self._parked.due(self.name, self.clock.now(), limit)

    async def next_due(self) -> float | None:
        """Return when the next one may be, Unix seconds, or None for never."""
        return await self._parked.next_due(self.name)

    async def commit(
        self,
        tx: Session,
        new: Standing,
        parked: Iterable[ParkedMessage] = (),
        *,
        is_page: bool = True,
    ) -> Standing:
        """Move on and set messages aside, as the end of a transaction.

        Args:
            tx: The transaction.
            new: The new standing.
            parked: What is set aside on the way.
            is_page: Whether messages were handled, so that it must lie ahead of what is kept.

        Returns:
            The standing as written.

        Raises:
            LeaseLostError: Somebody else has decided; the transaction must not commit.
        """
        await self._parked.park(tx, self.name, parked)
        new = msgspec.structs.replace(new, moved_at=self.clock.now())
        await self._table.move(tx, self.name, new, self.fence, advances=is_page)
        if new.status is Status.STOPPED:
            await self._table.set_status(tx, self.name, new.status, new.reason)
        return new

    async def save(
        self,
        new: Standing,
        parked: Iterable[ParkedMessage] = (),
        *,
        gap: MetGap | None = None,
        is_page: bool = False,
    ) -> Standing:
        """Do so in a transaction of its own, and remember a gap."""
        async with self._database.transaction() as tx:
            if gap is not None:
                await self._table.note_gap(tx, self.name, gap)
            return await self.commit(tx, new, parked, is_page=is_page)

    async def release(self, tx: Session, standing: Standing, one: ParkedMessage) -> None:
        """Remove a parked message that was handled, as the end of a transaction."""
        await self._parked.remove(tx, self.name, one)
        await self._table.move(tx, self.name, standing, self.fence)

    async def put_off(self, standing: Standing, one: ParkedMessage) -> None:
        """Note that a parked message failed again."""
        async with self._database.transaction() as tx:
            await self._parked.put_off(tx, self.name, one)
            await self._table.move(tx, self.name, standing, self.fence)

    async def free(self, standing: Standing, one: ParkedMessage) -> None:
        """Remove a parked message that was handled, in a transaction of its own."""
        async with self._database.transaction() as tx:
            await self.release(tx, standing, one)
