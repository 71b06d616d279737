"""The relay: one process at a time carries what guests' transactions left into the log."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from trunkline.errors import LeaseLostError, TrunklineError
from trunkline.runtime.clock import Clock
from trunkline.runtime.loops import Backoff
from trunkline.store.lease import Lease
from trunkline.store.outbox import Outbox
from trunkline.store.transfer import Transfer

logger = logging.getLogger(__name__)

#: Seconds between two looks while rows came lately, and when none did for a while.
KEEN = 0.005
IDLE = 0.012
#: Seconds after the last rows during which the relay stays keen.
KEEN_FOR = 1.0


class Relay:
    """Watch one outbox, and move what comes, while the lease is ours.

    Args:
        name: Names it for profiles and log lines.
        outbox: What is watched.
        transfer: Moves batches.
        lease: Says who may.
        clock: Tells how time passes.
    """

    def __init__(
        self, name: str, outbox: Outbox, transfer: Transfer, *, lease: Lease, clock: Clock
    ) -> None:
        self.name = name
        self._outbox = outbox
        self._transfer = transfer
        self._lease = lease
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._is_stopping = False
        self._keen_until = 0.0
        self._backoff = Backoff(first=0.05, limit=5.0)

    def poke(self) -> None:
        """Look at once, and keenly for a while: somebody is about to commit, or just did."""
        self._keen_until = self._clock.monotonic() + KEEN_FOR
        self._woken.set()

    def poke_from_anywhere(self) -> None:
        """Do so from another thread, or when the loop may be gone."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.poke)

    def stop(self) -> None:
        """Have :meth:`run` finish the batch in hand and return."""
        self._is_stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Wait for the lease and move what comes, until stopped."""
        try:
            while not self._is_stopping:
                try:
                    await self._hold()
                except LeaseLostError as error:
                    logger.warning("%s: %s", self.name, error)
                except TrunklineError as error:
                    delay = self._backoff.next_delay()
                    logger.warning("%s: %s; again in %.1f s", self.name, error, delay)
                    await self._wait(delay)
        finally:
            with contextlib.suppress(TrunklineError):
                await self._lease.release()

    async def _hold(self) -> None:
        if not self._lease.epoch and not await self._lease.acquire(self._wait):
            return
        while not self._is_stopping:
            await self._lease.keep()
            if await self._outbox.has_rows() and await self._transfer.move():
                self._keen_until = self._clock.monotonic() + KEEN_FOR
                self._backoff.succeed()
            else:
                is_keen = self._clock.monotonic() < self._keen_until
                await self._wait(KEEN if is_keen else IDLE)

    async def _wait(self, seconds: float) -> bool:
        """Wait, unless poked; tell whether to go on."""
        timer = self._loop.call_later(seconds, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            timer.cancel()
            self._woken.clear()
        return not self._is_stopping
