"""Leases: one holder at a time, found dead by its silence, and fenced when it wakes up."""

from __future__ import annotations

import asyncio

import pytest

from tests.store.databases import arrived
from tests.store.desk import Desk, draft, take
from trunkline.errors import LeaseLostError
from trunkline.store.transfer import JointTransfer
from trunkline.testing.clock import ManualClock


async def test_a_living_holder_keeps_the_lease_and_a_silent_one_loses_it(desk):
    first, second = desk.lease(), desk.lease()
    assert await first.try_acquire()
    for _ in range(10):
        assert not await second.try_acquire()
        desk.clock.advance(1.0)
        await first.keep()
    for _ in range(3):
        assert not await second.try_acquire()
        desk.clock.advance(1.0)
    desk.clock.step(-86400)  # no wall clock is asked
    assert await second.try_acquire()
    assert second.epoch == 2
    desk.clock.advance(1.0)
    with pytest.raises(LeaseLostError):
        await first.keep()
    assert first.epoch == 0


async def test_a_lease_given_up_is_free_at_once(desk):
    first, second = desk.lease(), desk.lease()
    assert await first.try_acquire()
    await first.release()
    await first.release()
    assert await second.try_acquire()


async def test_one_of_many_takes_a_free_lease(desk):
    leases = [desk.lease() for _ in range(8)]
    taken = await asyncio.gather(*(lease.try_acquire() for lease in leases))
    assert taken.count(True) == 1


async def test_a_deposed_relay_moves_nothing_more(desk, monkeypatch):
    await desk.leave([draft(1)], [draft(2)])
    old = await desk.transfer()
    append = desk.log.append

    async def slow(groups):
        # While it appends it is taken for dead, and another does the work.
        monkeypatch.setattr(desk.log, "append", append)
        new = await desk.transfer()
        assert await new.move() == 2
        return await append(groups)

    monkeypatch.setattr(desk.log, "append", slow)
    with pytest.raises(LeaseLostError):
        await old.move()
    with pytest.raises(LeaseLostError):
        await old.move()
    assert await desk.data() == [1, 2]


async def test_a_deposed_relay_in_the_log_s_database_moves_nothing(ground):
    async with ground.line(services="off") as line:
        store, clock = line._store, ManualClock()
        desk = Desk(store.outbox.database, store.outbox, clock)
        await desk.leave([draft(1)])
        old, new = desk.lease(), desk.lease()
        await take(old, clock)
        await take(new, clock)
        transfers = [
            JointTransfer(store.outbox, line._standby.engine, one, clock) for one in (old, new)
        ]
        with pytest.raises(LeaseLostError):
            await transfers[0].move()
        assert await transfers[1].move() == 1
        assert await arrived(line, 1) == [1]
