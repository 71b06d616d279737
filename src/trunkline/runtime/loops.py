"""Loops that must not die: run again after a failure, and every failure told."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from trunkline.errors import ConfigError
from trunkline.runtime.clock import Clock, SystemClock, jitter

logger = logging.getLogger(__name__)

Sleep = Callable[[float], Awaitable[None]]
Work = Callable[[], Awaitable[object]]


class Backoff:
    """Say how long to wait after the n-th failure in a row: doubling, bounded, jittered.

    Args:
        first: Seconds after the first failure.
        limit: Seconds at most, before jitter.
        chance: A source of randomness; the process's own by default.
    """

    def __init__(
        self, first: float = 0.1, limit: float = 30.0, *, chance: random.Random | None = None
    ) -> None:
        if not 0 < first <= limit:
            raise ConfigError(f"a back-off of first={first}, limit={limit} makes no sense")
        self._first = first
        self._limit = limit
        self._chance = chance
        self._failures = 0

    def next_delay(self) -> float:
        """Count one more failure and return the seconds to wait."""
        # The exponent is bounded because 2.0**1024 overflows.
        delay = min(self._limit, self._first * 2.0 ** min(self._failures, 64))
        self._failures += 1
        return jitter(delay, chance=self._chance)

    def succeed(self) -> None:
        """Forget the failures."""
        self._failures = 0


async def supervise(
    name: str,
    work: Work,
    *,
    backoff: Backoff | None = None,
    clock: Clock | None = None,
    sleep: Sleep = asyncio.sleep,
) -> None:
    """Run *work* until it returns; after an exception wait and run it again.

    Meant to be a task of a task group; cancelling it ends it. Work that ran well for longer
    than a minute starts the back-off anew.

    Args:
        name: Names the loop in log lines.
        work: A coroutine function without arguments.
        backoff: How long to wait after failures.
        clock: Tells how long work ran.
        sleep: Waits.
    """
    backoff = backoff or Backoff()
    clock = clock or SystemClock()
    while True:
        started = clock.monotonic()
        try:
            await work()
        except Exception:
            if clock.monotonic() - started > 60.0:
                backoff.succeed()
            delay = backoff.next_delay()
            logger.exception("%s failed; it runs again in %.1f s", name, delay)
            await sleep(delay)
        else:
            return


async def repeat(
    name: str,
    work: Work,
    *,
    every: float,
    backoff: Backoff | None = None,
    sleep: Sleep = asyncio.sleep,
) -> None:
    """Run *work* again and again, with a pause of *every* seconds, jittered, before each run.

    A failure is told and lengthens the pause; it never ends the loop.

    Args:
        name: Names the loop in log lines.
        work: A coroutine function without arguments.
        every: Seconds between the end of a run and the next one.
        backoff: How much longer to wait after failures.
        sleep: Waits.
    """
    backoff = backoff or Backoff(first=every, limit=max(every, 60.0))
    pause = jitter(every, spread=0.1)
    while True:
        await sleep(pause)
        try:
            await work()
        except Exception:
            pause = max(every, backoff.next_delay())
            logger.exception("%s failed; it runs again in %.1f s", name, pause)
        else:
            backoff.succeed()
            pause = jitter(every, spread=0.1)


class LoopLock:
    """Be a lock on whichever event loop asks, for what outlives a loop, as a line does."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._lock = loop, asyncio.Lock()
        await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()
