"""Letting threads have the interpreter while the event loop is saturated.

A loop that never blocks gives the interpreter away at every turn and takes it back before a
waiting thread is awake; and since it did give it away, the interpreter's own fairness (a forced
switch after 5 ms without one) never sets in. A commit or a read in a thread can so last for
seconds. While a thread's job is overdue, the loop therefore sleeps for a moment now and then,
which is long enough for the thread to wake up and take over.
"""

from __future__ import annotations

import asyncio
import time

#: Seconds after which a job is overdue, and between two moments given.
OVERDUE = 0.002
#: Seconds the loop sleeps: a thread wakes up in less.
MOMENT = 0.0001


class Courtesy:
    """Count the jobs that threads have in hand, and give way to those that are overdue.

    Args:
        loop: The loop that gives way.

    Attributes:
        given: How often it gave way.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.given = 0
        self._pending = 0
        self._finished = 0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Note, on the loop, that a thread got a job."""
        self._pending += 1
        if self._timer is None:
            self._arm()

    def end(self) -> None:
        """Note, on the loop, that a thread's job is done."""
        self._pending -= 1
        self._finished += 1

    def _arm(self) -> None:
        self._timer = self._loop.call_later(OVERDUE, self._look, self._finished)

    def _look(self, finished: int) -> None:
        self._timer = None
        if not self._pending:
            return
        if finished == self._finished:
            self.given += 1
            time.sleep(MOMENT)
        self._arm()
