"""The wheel: one timer for the heartbeats, holds and expiries of all connections of a process."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from math import ceil
from typing import Final, Protocol

from trunkline.gateway.pump import STRIDE, Pump
from trunkline.runtime.clock import Clock

TICK: Final = 0.01


class Timed(Protocol):
    """Be something that the wheel can hold once at a time.

    Attributes:
        due: The tick it is at, or -1; kept by the wheel.
    """

    due: int


class Wheel:
    """Call *on_due* with each thing when its time has come, in the pump's slices.

    Args:
        pump: Gives it its turns.
        clock: Tells the time.
        on_due: Takes a thing that is due, and may place it anew.
    """

    def __init__(self, pump: Pump, clock: Clock, on_due: Callable[[Timed], None]) -> None:
        self._pump = pump
        self._clock = clock
        self._on_due = on_due
        self._buckets: dict[int, set[Timed]] = {}
        self._ticks: list[int] = []
        self._overdue: deque[Timed] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_tick = 0
        self.is_queued = False

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values())) + len(self._overdue)

    def place(self, thing: Timed, at: float) -> None:
        """Have *thing* called at a time, instead of when it was due before.

        Args:
            thing: What to call.
            at: Monotonic seconds.
        """
        self.forget(thing)
        tick = ceil(at / TICK)
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._buckets[tick] = set()
            heapq.heappush(self._ticks, tick)
        bucket.add(thing)
        thing.due = tick
        self._arm()

    def forget(self, thing: Timed) -> None:
        """Take *thing* off; nothing happens when it is not on."""
        bucket = self._buckets.get(thing.due)
        if bucket is not None:
            bucket.discard(thing)
        thing.due = -1

    def close(self) -> None:
        """Stop for good."""
        self._buckets.clear()
        self._ticks.clear()
        self._overdue.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if not self._ticks:
            return
        first = self._ticks[0]
        if self._timer is not None:
            if self._timer_tick <= first:
                return
            self._timer.cancel()
        delay = max(0.0, first * TICK - self._clock.monotonic())
        self._timer = asyncio.get_running_loop().call_later(delay, self._ring)
        self._timer_tick = first

    def _ring(self) -> None:
        self._timer = None
        now = self._clock.monotonic() / TICK
        while self._ticks and self._ticks[0] <= now:
            bucket = self._buckets.pop(heapq.heappop(self._ticks))
            for thing in bucket:
                thing.due = 0
                self._overdue.append(thing)
        if self._overdue:
            self._pump.schedule(self)
        self._arm()

    def step(self, until: float) -> bool:
        """Call what is due, until nothing is left or the time is up."""
        overdue = self._overdue
        while overdue:
            for _ in range(min(STRIDE, len(overdue))):
                thing = overdue.popleft()
                if thing.due == 0:  # not forgotten, and not placed anew, since it rang
                    thing.due = -1
                    self._on_due(thing)
            if self._pump.now() >= until:
                break
        return bool(overdue)
