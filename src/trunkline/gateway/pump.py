"""The pump: everything that writes to many connections, in slices that keep the loop free.

Jobs (cohorts, the wheel, pages of the log) take turns under one budget per turn of the loop. A
timer waits at most two slices: one it expires in, and one that runs before it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Final, Protocol

logger = logging.getLogger("trunkline.gateway")

SLICE: Final = 0.002
STRIDE: Final = 32

Now = Callable[[], float]


class Job(Protocol):
    """Do some of a larger work.

    Attributes:
        is_queued: Kept by the pump: whether the job waits for its turn.
    """

    is_queued: bool

    def step(self, until: float) -> bool:
        """Work until the clock shows *until*.

        Returns:
            Whether something is left to do.
        """


class Pump:
    """Give jobs their turns, round and round, until none has anything left.

    Args:
        now: Tells the time in seconds, finely.
    """

    def __init__(self, now: Now = perf_counter) -> None:
        self.now = now
        self._jobs: deque[Job] = deque()
        self._is_scheduled = False

    def schedule(self, job: Job) -> None:
        """Give *job* a turn soon; once is enough until it had it."""
        if not job.is_queued:
            job.is_queued = True
            self._jobs.append(job)
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        until = self.now() + SLICE
        jobs = self._jobs
        while jobs:
            job = jobs.popleft()
            # A job that is scheduled anew while it works gets another turn.
            job.is_queued = False
            try:
                has_more = job.step(until)
            except Exception:
                # One job must not stop the others; its connections fall behind and are told.
                logger.exception("%r failed", job)
                has_more = False
            if has_more and not job.is_queued:
                job.is_queued = True
                jobs.append(job)
            if self.now() >= until:
                break
        self._is_scheduled = bool(jobs)
        if jobs:
            asyncio.get_running_loop().call_soon(self._turn)
