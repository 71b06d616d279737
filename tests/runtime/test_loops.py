"""Supervised loops: they outlive failures, tell of each, and end when cancelled."""

from __future__ import annotations

import asyncio
import logging
import random

import pytest

from trunkline.errors import ConfigError
from trunkline.runtime.loops import Backoff, repeat, supervise
from trunkline.testing.clock import ManualClock


class Sleeper:
    """Note every pause and let it pass at once."""

    def __init__(self, clock=None, most=1000):
        self.pauses = []
        self._clock = clock
        self._most = most

    async def __call__(self, seconds):
        self.pauses.append(seconds)
        if len(self.pauses) > self._most:
            raise asyncio.CancelledError
        if self._clock is not None:
            self._clock.advance(seconds)
        await asyncio.sleep(0)


def test_backoff_doubles_up_to_its_limit_with_jitter():
    """Delays double, stay within ±50 % of their step, and never pass 1.5 times the limit."""
    backoff = Backoff(1.0, 8.0, chance=random.Random(7))
    for wanted in (1.0, 2.0, 4.0, 8.0, 8.0):
        assert wanted * 0.5 <= backoff.next_delay() <= wanted * 1.5
    backoff.succeed()
    assert backoff.next_delay() <= 1.5


def test_backoff_after_thousands_of_failures_is_still_a_number():
    """The exponent cannot overflow."""
    backoff = Backoff(1.0, 8.0)
    assert all(backoff.next_delay() <= 12.0 for _ in range(3000))


@pytest.mark.parametrize(("first", "limit"), [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0)])
def test_senseless_backoff_is_refused(first, limit):
    """A first delay must be above 0 and at most the limit."""
    with pytest.raises(ConfigError):
        Backoff(first, limit)


async def test_failing_work_runs_again_until_it_returns(caplog):
    """Two failures, each logged with its traceback, then success ends the loop."""
    sleep = Sleeper()
    runs = 0

    async def work():
        nonlocal runs
        runs += 1
        if runs < 3:
            raise ValueError(f"failure {runs}")

    with caplog.at_level(logging.ERROR):
        await supervise("the reader", work, sleep=sleep)
    assert runs == 3
    assert len(sleep.pauses) == 2
    told = [record for record in caplog.records if "the reader" in record.getMessage()]
    assert [str(record.exc_info[1]) for record in told] == ["failure 1", "failure 2"]


async def test_work_that_ran_well_for_long_starts_the_backoff_anew():
    """After more than a minute of good work a failure waits the first delay again."""
    clock = ManualClock()
    sleep = Sleeper()
    runs = 0

    async def work():
        nonlocal runs
        runs += 1
        if runs == 6:
            clock.advance(61.0)
        if runs < 8:
            raise ValueError("on purpose")

    await supervise("x", work, backoff=Backoff(1.0, 64.0), clock=clock, sleep=sleep)
    assert sleep.pauses[4] >= 8.0
    assert sleep.pauses[5] <= 1.5


async def test_cancelling_ends_a_supervised_loop():
    """Cancellation is no failure: it passes through and nothing runs again."""
    started = asyncio.Event()

    async def work():
        started.set()
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(supervise("x", work))
        await started.wait()
        task.cancel()
    assert task.cancelled()


async def test_periodic_work_runs_between_pauses_and_survives_failures(caplog):
    """A failure lengthens the pause and is told; success brings the usual pause back."""
    sleep = Sleeper(most=6)
    runs = 0

    async def work():
        nonlocal runs
        runs += 1
        if runs in {2, 3}:
            raise ValueError("on purpose")

    with pytest.raises(asyncio.CancelledError), caplog.at_level(logging.ERROR):
        await repeat("sweeping", work, every=10.0, sleep=sleep)
    assert runs == 6
    assert all(9.0 <= pause <= 11.0 for pause in sleep.pauses[:2] + sleep.pauses[4:])
    assert all(pause >= 10.0 for pause in sleep.pauses[2:4])
    assert sum("sweeping" in record.getMessage() for record in caplog.records) == 2
