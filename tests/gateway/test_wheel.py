"""One timer serves every connection: each is called when due, never before, and once."""

from __future__ import annotations

import asyncio

from trunkline.gateway.pump import Pump
from trunkline.gateway.wheel import Wheel
from trunkline.runtime.clock import SystemClock


class Thing:
    due = -1


async def test_things_are_called_in_their_order_and_not_early():
    clock, called = SystemClock(), []
    wheel = Wheel(Pump(), clock, lambda thing: called.append((thing, clock.monotonic())))
    things = [Thing() for _ in range(3)]
    start = clock.monotonic()
    for thing, delay in zip(things, (0.09, 0.03, 0.06), strict=True):
        wheel.place(thing, start + delay)
    async with asyncio.timeout(5):
        while len(called) < 3:
            await asyncio.sleep(0.005)
    assert [thing for thing, _ in called] == [things[1], things[2], things[0]]
    assert all(at >= start + 0.03 for _, at in called)
    assert len(wheel) == 0


async def test_what_is_forgotten_or_put_off_is_not_called():
    clock, called = SystemClock(), []
    wheel = Wheel(Pump(), clock, called.append)
    gone, later, due = Thing(), Thing(), Thing()
    for thing in (gone, later, due):
        wheel.place(thing, clock.monotonic() + 0.02)
    wheel.forget(gone)
    wheel.place(later, clock.monotonic() + 60)
    async with asyncio.timeout(5):
        while not called:
            await asyncio.sleep(0.005)
    assert called == [due]
    assert len(wheel) == 1
    wheel.close()
    assert len(wheel) == 0
