"""Whoever runs sagas in this process: a sign of life for all of them, and how the dead are known.

Each saga has an owner and an epoch, which is its fence: all that an owner writes holds only while
the epoch is its own. That an owner is dead is seen as with a lease: its beat stands still, by the
observer's own clock, for as long as a lease lasts. One beat serves all sagas of a process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from trunkline.cqrs.context import new_id
from trunkline.errors import TrunklineError
from trunkline.runtime.clock import Clock
from trunkline.runtime.crew import Work
from trunkline.runtime.loops import Sleep
from trunkline.store.consumer_table import Session
from trunkline.store.lease import BEAT, LASTS
from trunkline.store.saga_table import RunnerBeat, SagaTable

logger = logging.getLogger("trunkline.cqrs")


class SagaRunner:
    """Be this process's claim on the sagas that it runs.

    Args:
        table: Where they are kept.
        clock: Tells the time.
    """

    def __init__(self, table: SagaTable, clock: Clock) -> None:
        self.table = table
        self.id = new_id(clock.now())
        self._is_listed = False
        self._held: set[str] = set()
        self._turn = asyncio.Lock()

    async def enlist(self) -> None:
        """Be listed among the runners, before the first saga. Idempotent."""
        if self._is_listed:
            return
        async with self._turn:
            if not self._is_listed:
                await self.table.enlist(self.id)
                self._is_listed = True

    async def beat(self, tx: Session) -> None:
        """Show a sign of life, in the transaction that begins or takes a saga."""
        if not await self.table.beat(tx, self.id):
            self._is_listed = False  # it was taken for dead, and is listed anew with the next saga

    def hold(self, saga: str) -> None:
        """Show signs of life for as long as a saga is run here. Idempotent."""
        self._held.add(saga)

    def release(self, saga: str) -> None:
        """Have done with a saga. Idempotent."""
        self._held.discard(saga)

    async def run(self) -> None:
        """Show signs of life until cancelled, while there is something to run."""
        while True:
            await asyncio.sleep(BEAT)
            if not self._held or not self._is_listed:
                continue
            try:
                async with self.table.database.transaction() as tx:
                    await self.beat(tx)
            except TrunklineError as error:  # the claim just grows older
                logger.warning("sagas cannot show that they are run: %s", error)

    async def close(self) -> None:
        """Let others have what is left at once. Idempotent."""
        if self._is_listed:
            self._is_listed = False
            with contextlib.suppress(TrunklineError):  # others only have to wait a little longer
                await self.table.discharge(self.id)


class Vigil:
    """Say which runners are dead, from what was seen of their beats.

    Args:
        lasts: Seconds without a beat after which one counts as dead.
    """

    def __init__(self, lasts: float = LASTS) -> None:
        self._lasts = lasts
        self._seen: dict[str, tuple[int, float]] = {}
        self._listed: frozenset[str] = frozenset()

    def look(self, beats: Sequence[RunnerBeat], now: float) -> None:
        """Note what is seen.

        Args:
            beats: Of all runners.
            now: Seconds of a clock that never runs backwards.
        """
        self._listed = frozenset(one.id for one in beats)
        for one in beats:
            if self._seen.get(one.id, (-1, 0.0))[0] != one.beat:
                self._seen[one.id] = (one.beat, now)
        for gone in self._seen.keys() - self._listed:
            del self._seen[gone]

    def is_dead(self, runner: str, now: float) -> bool:
        """Tell whether a runner is dead or left."""
        return runner not in self._listed or now - self._seen[runner][1] >= self._lasts

    def dead(self, now: float) -> list[str]:
        """Return the runners that are listed, and dead."""
        return [one for one in sorted(self._listed) if self.is_dead(one, now)]


class Workshop(NamedTuple):
    """Be what whoever runs sagas works with.

    Args:
        runner: Owns the sagas of this process.
        vigil: Says which other runners are dead.
        clock: Tells the time.
        sleep: Waits.
        run: Runs background work until the line closes.
    """

    runner: SagaRunner
    vigil: Vigil
    clock: Clock
    sleep: Sleep
    run: Callable[[str, Work], None]

    @property
    def table(self) -> SagaTable:
        """Return where sagas are kept."""
        return self.runner.table

    async def is_left(self, owner: str) -> bool:
        """Look whether a saga's owner is nobody, dead or gone."""
        if not owner:
            return True
        if owner == self.runner.id:
            return False
        now = self.clock.monotonic()
        self.vigil.look(await self.table.beats(), now)
        return self.vigil.is_dead(owner, now)
