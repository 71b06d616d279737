"""The service that has transmissions sent again, piece by piece, with progress that survives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from trunkline.runtime.clock import Clock
from trunkline.sql.database import Database
from trunkline.webhooks.endpoint_statements import endpoint_statements

#: Numbers of transmissions that one transaction goes through.
STRETCH = 5000
#: Seconds between two looks.
EVERY = 0.5


class Recoverer:
    """Do recoveries, one stretch per transaction; each is done once, whoever does it.

    Args:
        database: The line's own.
        clock: Tells the time.
        poke: Has the delivery look at once.
    """

    name = "webhooks:recover"

    def __init__(self, database: Database, clock: Clock, poke: Callable[[], None]) -> None:
        self._database = database
        self._clock = clock
        self._poke = poke
        self._sql = endpoint_statements(database.dialect, database.schema)
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Have :meth:`run` return after the stretch in hand."""
        self._stopped.set()

    async def run(self) -> None:
        """Recover until stopped."""
        while not self._stopped.is_set():
            if await self.step():
                self._poke()
                continue
            try:
                async with asyncio.timeout(EVERY):
                    await self._stopped.wait()
            except TimeoutError:
                continue

    async def step(self) -> bool:
        """Go through one stretch; tell whether there was one."""
        if not await self._database.fetch(self._sql.recoveries, 1):
            return False
        now = self._clock.now()
        async with self._database.transaction() as tx:
            rows = await tx.fetch(self._sql.running)
            if not rows:
                return False
            row = rows[0]
            upto = min(row["reached"] + STRETCH, row["last"])
            count = await tx.execute(
                self._sql.recover,
                now,
                row["reached"],
                upto,
                row["endpoint_id"],
                row["since"],
                row["until"],
                row["kind"],
            )
            state = "done" if upto >= row["last"] else "running"
            await tx.execute(self._sql.advance, upto, count, state, now, row["id"])
        return True
