"""Jobs take turns under one budget, and one that fails stops nobody."""

from __future__ import annotations

import asyncio
import itertools

from trunkline.gateway.pump import SLICE, Pump


class Work:
    def __init__(self, name, steps, done, *, fails=False):
        self.is_queued = False
        self.name, self.left, self.done, self.fails = name, steps, done, fails

    def step(self, until):
        if self.fails:
            raise RuntimeError("on purpose")
        self.left -= 1
        self.done.append(self.name)
        return self.left > 0


async def until_idle(works):
    async with asyncio.timeout(5):
        while any(one.left for one in works):
            await asyncio.sleep(0)


async def test_jobs_go_round():
    done = []
    pump = Pump(itertools.count(step=SLICE).__next__)
    works = [Work(name, 3, done) for name in "abc"]
    for work in works:
        pump.schedule(work)
        pump.schedule(work)
    await until_idle(works)
    assert done == list("abcabcabc")


async def test_a_slice_lets_the_loop_in_between():
    done = []
    pump = Pump(itertools.count(step=SLICE).__next__)
    work = Work("w", 5, done)
    pump.schedule(work)
    turns = 0
    while work.left:
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 5


async def test_a_failing_job_is_reported_and_the_others_go_on(caplog):
    done = []
    pump = Pump()
    bad, good = Work("bad", 1, done, fails=True), Work("good", 2, done)
    pump.schedule(bad)
    pump.schedule(good)
    await until_idle([good])
    assert done == ["good", "good"]
    assert "on purpose" in caplog.text
