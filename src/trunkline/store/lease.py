"""Leases: what only one process may do, and how a dead one's work finds another.

A holder raises its row's beat. Whoever sees a beat stand still, by a clock of its own, for as
long as a lease lasts takes over by raising the epoch. No two clocks are ever compared, so a
stepped clock deposes nobody. The epoch is the fence: all that a holder writes is written
together with a look at it, so that a deposed one that wakes up late can write nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable

from trunkline.errors import LeaseLostError
from trunkline.runtime.clock import Clock
from trunkline.sql.database import Database, Transaction
from trunkline.store.statements import statements_for

#: Seconds without a beat after which a holder counts as dead.
LASTS = 3.0
#: Seconds between two beats, and between two looks at somebody else's.
BEAT = 0.75


class Lease:
    """Be one process's claim to do something that only one may do.

    Args:
        database: Where the row is.
        name: What it is for.
        clock: Tells how time passes; its wall clock isn't asked.
        lasts: Seconds without a beat after which a holder counts as dead.
    """

    def __init__(
        self, database: Database, name: str, *, clock: Clock, lasts: float = LASTS
    ) -> None:
        self._database = database
        self._name = name
        self._clock = clock
        self._lasts = lasts
        self._beat_every = lasts * BEAT / LASTS
        self._holder = f"{socket.gethostname()}:{os.getpid()}"
        self._sql = statements_for(database.dialect, database.schema)
        self._epoch = 0
        self._seen: tuple[int, int] | None = None
        self._seen_at = 0.0
        self._beaten_at = 0.0
        #: Whether the holder before us fell silent rather than let go.
        self.was_left = False

    @property
    def epoch(self) -> int:
        """Return the epoch under which it is held, 0 while it isn't."""
        return self._epoch

    async def acquire(self, wait: Callable[[float], Awaitable[bool]]) -> bool:
        """Wait until it is ours.

        Args:
            wait: Waits so many seconds, and says False to give up.

        Returns:
            Whether it is ours.
        """
        while not await self.try_acquire():
            if not await wait(self._beat_every):
                return False
        return True

    async def try_acquire(self) -> bool:
        """Take it if nobody has it, or if whoever has it was silent for long enough."""
        rows = await self._database.fetch(self._sql.read_lease, self._name)
        if not rows:
            async with self._database.transaction() as tx:
                await tx.execute(self._sql.make_lease, self._name)
            rows = await self._database.fetch(self._sql.read_lease, self._name)
        epoch, beat, holder = rows[0]
        now = self._clock.monotonic()
        if (epoch, beat) != self._seen:
            self._seen, self._seen_at = (epoch, beat), now
        if holder and now - self._seen_at < self._lasts:
            return False
        async with self._database.transaction() as tx:
            taken = await tx.execute(self._sql.take_lease, self._holder, self._name, epoch, beat)
        if taken:
            self._epoch, self._beaten_at = epoch + 1, now
            self.was_left = bool(holder)
        return bool(taken)

    async def keep(self) -> None:
        """Show that the holder lives, when it is time to.

        Raises:
            LeaseLostError: Somebody else has taken over.
        """
        now = self._clock.monotonic()
        if now - self._beaten_at < self._beat_every:
            return
        async with self._database.transaction() as tx:
            beaten = await tx.execute(self._sql.beat_lease, self._name, self._epoch)
        if not beaten:
            self._lose()
        self._beaten_at = now

    async def check(self, tx: Transaction) -> None:
        """Make a transaction hold only if the lease is still ours when it commits.

        Raises:
            LeaseLostError: Somebody else has taken over.
        """
        if not await tx.fetch(self._sql.hold_lease, self._name, self._epoch):
            self._lose()

    async def release(self) -> None:
        """Let others have it at once. Idempotent."""
        epoch, self._epoch = self._epoch, 0
        if epoch:
            async with self._database.transaction() as tx:
                await tx.execute(self._sql.release_lease, self._name, epoch)

    def _lose(self) -> None:
        self._epoch = 0
        raise LeaseLostError(f"another process has taken over {self._name!r}")
