"""The built-in schedule by which old transmissions go."""

from __future__ import annotations

import asyncio
import logging

from trunkline.runtime.clock import jitter
from trunkline.webhooks.transmissions import Transmissions

logger = logging.getLogger(__name__)


class Purger:
    """Purge now and then, in a worker. Several may: they take turns by chance.

    Args:
        transmissions: What is purged.
        keep: Seconds for which what is over is kept, or None for ever.
        most: Undelivered transmissions of one endpoint at most, or None.
        every: Seconds between two purges.
    """

    def __init__(
        self, transmissions: Transmissions, *, keep: float | None, most: int | None, every: float
    ) -> None:
        self.name = "webhooks:purge"
        self._transmissions = transmissions
        self._keep = keep
        self._most = most
        self._every = every
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Purge until stopped."""
        while not self._stopped.is_set():
            await self._purge()
            try:
                async with asyncio.timeout(jitter(self._every, spread=0.1)):
                    await self._stopped.wait()
            except TimeoutError:
                continue

    async def _purge(self) -> None:
        if self._most is not None:
            await self._transmissions.bound(self._most)
        if self._keep is not None and (
            count := await self._transmissions.purge(older_than=self._keep)
        ):
            logger.info("purged %d transmissions", count)

    def stop(self) -> None:
        """Have :meth:`run` return."""
        self._stopped.set()
