"""Waiting until eventual handlers have seen something, so that one may read what one wrote."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from trunkline.channels.consumers import Consumers
from trunkline.cqrs.errors import NotFollowedError
from trunkline.runtime.clock import Clock

#: Seconds between two looks, at first and at most.
FIRST = 0.001
LIMIT = 0.02


class Waiting(NamedTuple):
    """Say what is waited for.

    Args:
        consumer: Whose progress.
        positions: The global ids that it must be done with.
    """

    consumer: str
    positions: tuple[int, ...]


class Waiter:
    """Wait for consumers, wherever they run.

    Args:
        consumers: Where they stand.
        clock: Tells how time passes.
    """

    def __init__(self, consumers: Consumers, clock: Clock) -> None:
        self._consumers = consumers
        self._clock = clock

    async def wait(self, waits: Sequence[Waiting], epoch: str, timeout: float) -> None:
        """Wait until all are done.

        Args:
            waits: What for.
            epoch: The line's.
            timeout: Seconds for all together.

        Raises:
            NotFollowedError: One failed, doesn't run, or was not done in time.
        """
        end = self._clock.monotonic() + timeout
        for one in waits:
            pause = FIRST
            while not await self._is_done(one, epoch):
                left = end - self._clock.monotonic()
                if left <= 0:
                    raise NotFollowedError(
                        one.consumer,
                        f"was not done within {timeout:g} s: does a worker run it? "
                        "See 'trunkline consumers list'",
                    )
                await asyncio.sleep(min(pause, left))
                pause = min(LIMIT, pause * 2)

    async def _is_done(self, one: Waiting, epoch: str) -> bool:
        reach = await self._consumers.reach(one.consumer, epoch, one.positions)
        if reach.failure:
            raise NotFollowedError(one.consumer, f"does not go on: {reach.failure}")
        return reach.is_done
