"""What a worker does for sagas: it finishes those that nobody runs any more, one way or the other.

A command's saga whose process died before the commit goes backward; one that was committed ended
with that commit. A pipeline goes on where it stood. What waits for a next try is tried.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from trunkline.cqrs.saga_runner import Workshop
from trunkline.errors import LeaseLostError, TrunklineError
from trunkline.store.saga_record import SagaKind, SagaRecord

logger = logging.getLogger("trunkline.cqrs")

#: Seconds between two looks.
LOOK = 0.25
#: Sagas that one process finishes at a time.
HANDS = 16
#: Seconds between two times that old ones are removed.
SWEEP = 600.0


class Finisher:
    """Say how sagas of one kind are finished.

    Args:
        knows: Tells whether this process has the code of a saga.
        finish: Finishes one that is ours.
    """

    def __init__(
        self,
        knows: Callable[[SagaRecord], bool],
        finish: Callable[[SagaRecord], Awaitable[object]],
    ) -> None:
        self.knows = knows
        self.finish = finish


class SagaService:
    """Finish the sagas that are left.

    Args:
        shop: What it is done with.
        finishers: By kind.
        keep: Seconds that sagas are kept after their end.
    """

    name = "sagas"

    def __init__(
        self, shop: Workshop, finishers: Mapping[SagaKind, Finisher], *, keep: float
    ) -> None:
        self._shop = shop
        self._finishers = finishers
        self._keep = keep
        self._swept = float("-inf")
        self._woken = asyncio.Event()
        self._is_stopping = False
        self._hands: set[str] = set()
        self._told: set[str] = set()

    def poke(self) -> None:
        """Look at once."""
        self._woken.set()

    def stop(self) -> None:
        """Have :meth:`run` finish what is in hand and return."""
        self._is_stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Look for sagas that are left, and finish them, until stopped."""
        await self._shop.runner.enlist()
        async with asyncio.TaskGroup() as group:
            while not self._is_stopping:
                await self.look(group)
                await self._wait(LOOK)

    async def look(self, group: asyncio.TaskGroup) -> int:
        """Take what is left and have it finished.

        Args:
            group: Whose tasks do it.

        Returns:
            How many sagas were taken.
        """
        shop, count = self._shop, 0
        shop.vigil.look(await shop.table.beats(), shop.clock.monotonic())
        for saga in await shop.table.waiting(shop.clock.now(), 10 * HANDS):
            if len(self._hands) >= HANDS or self._is_stopping:
                break
            taken = await self._taken(saga)
            if taken is not None:
                count += 1
                self._hands.add(taken.id)
                group.create_task(self._finish(taken))
        await self._sweep()
        return count

    async def _taken(self, saga: SagaRecord) -> SagaRecord | None:
        shop = self._shop
        if saga.owner == shop.runner.id:
            return None
        if saga.owner and not shop.vigil.is_dead(saga.owner, shop.clock.monotonic()):
            return None
        finisher = self._finishers.get(saga.kind)
        if finisher is None or not finisher.knows(saga):
            if saga.name not in self._told:
                self._told.add(saga.name)
                logger.warning(
                    "the saga %s waits: no code here declares the %s %r",
                    saga.id,
                    saga.kind,
                    saga.name,
                )
            return None
        return await shop.table.take(saga, shop.runner.id)

    async def _finish(self, saga: SagaRecord) -> None:
        self._shop.runner.hold(saga.id)
        try:
            await self._finishers[saga.kind].finish(saga)
        except LeaseLostError as error:
            logger.warning("the saga %s is not finished here: %s", saga.id, error)
        except Exception:
            logger.exception("the saga %s is not finished; it is tried again", saga.id)
            await self._let_go(saga)
        finally:
            self._hands.discard(saga.id)
            self._shop.runner.release(saga.id)
            self._woken.set()

    async def _let_go(self, saga: SagaRecord) -> None:
        """Have anybody take it up again, this process too."""
        try:
            await self._shop.table.let_go(saga, due_at=self._shop.clock.now() + 4 * LOOK)
        except TrunklineError as error:
            logger.warning("the saga %s stays with its runner: %s", saga.id, error)

    async def _sweep(self) -> None:
        now = self._shop.clock.monotonic()
        if now - self._swept < SWEEP:
            return
        self._swept = now
        await self._shop.table.forget(self._shop.clock.now() - self._keep)
        for runner in self._shop.vigil.dead(now):
            if runner != self._shop.runner.id:
                await self._shop.table.bury(runner)

    async def _wait(self, seconds: float) -> None:
        timer = asyncio.get_running_loop().call_later(seconds, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            timer.cancel()
            self._woken.clear()
