"""A durable consumer at work: one process at a time, page by page, until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

import msgspec

from trunkline.channels.catchup import Arrival, Gap
from trunkline.channels.consumer import Consumer
from trunkline.channels.consumer_decisions import meet_gap, stop_full
from trunkline.channels.consumer_feed import Feed
from trunkline.channels.consumer_handling import Handling
from trunkline.channels.consumer_keeper import Keeper
from trunkline.channels.consumer_ledger import Ledger
from trunkline.channels.consumer_retrying import Retrying
from trunkline.errors import LeaseLostError, TrunklineError
from trunkline.runtime.loops import Backoff
from trunkline.store.consumer_table import Definition, Standing, Status

logger = logging.getLogger("trunkline.channels")

#: Messages of a page, for handlers that take one at a time.
PAGE = 1000
#: Seconds between two looks whether an operator decided, or a parked message is due.
LOOK = 0.25
#: Seconds between two looks at the lease.
BEAT = 0.25
#: Seconds after which a position is saved that only unwanted messages have moved.
SAVE_EVERY = 1.0
#: Messages handled one by one after a holder died, for one of them may have killed it.
WARY = 100

Begin = Callable[[], Awaitable[Standing]]


class Pace:
    """Say when it is time again.

    Args:
        every: Seconds in between.
        now: Tells how time passes.
    """

    def __init__(self, every: float, now: Callable[[], float]) -> None:
        self._every = every
        self._now = now
        self._at = float("-inf")

    def is_due(self) -> bool:
        """Tell whether it is time, and if so begin anew."""
        if self._now() - self._at < self._every:
            return False
        self.begin()
        return True

    def begin(self) -> None:
        """Count from now."""
        self._at = self._now()

    def hurry(self) -> None:
        """Let it be time at once."""
        self._at = float("-inf")


class ConsumerRunner:
    """Run one consumer while its lease is ours.

    Args:
        consumer: Which.
        ledger: What is kept of it.
        make_feed: Makes the feed that it reads from, given the event that wakes it.
        begin: Finds where it begins when it is new.
        keeper: Trims what it holds back, or None.
    """

    def __init__(
        self,
        consumer: Consumer,
        ledger: Ledger,
        make_feed: Callable[[Consumer, int, asyncio.Event], Feed],
        *,
        begin: Begin,
        keeper: Keeper | None,
    ) -> None:
        self.name = f"consumer:{consumer.name}"
        self.group = consumer.group
        self._consumer = consumer
        self._ledger = ledger
        self._begin = begin
        self._keeper = keeper
        self._woken = asyncio.Event()
        self._feed = make_feed(consumer, consumer.batch or PAGE, self._woken)
        self._handling = Handling(consumer, ledger, self._is_ending)
        self._retrying = Retrying(consumer, ledger, self._handling)
        self._backoff = Backoff(first=0.05, limit=5.0)
        self._is_stopping = False
        self._is_deposed = False
        self._wary_of = 0
        now = ledger.clock.monotonic
        self._looking = Pace(LOOK, now)
        self._saving = Pace(SAVE_EVERY, now)

    def poke(self) -> None:
        """Look at once whether an operator decided something."""
        self._looking.hurry()
        self._woken.set()

    def stop(self) -> None:
        """Have :meth:`run` commit what is done and return."""
        self._is_stopping = True
        self._woken.set()

    def _is_ending(self) -> bool:
        return self._is_stopping or self._is_deposed

    async def run(self) -> None:
        """Wait for the lease and consume, until stopped."""
        try:
            while not self._is_stopping:
                try:
                    await self._hold()
                except LeaseLostError as error:
                    logger.warning("%s: %s", self.name, error)
                    await self._let_go()
                except TrunklineError as error:
                    delay = self._backoff.next_delay()
                    logger.warning("%s: %s; again in %.1f s", self.name, error, delay)
                    await self._wait(delay)
        finally:
            await self._let_go()

    async def _let_go(self) -> None:
        with contextlib.suppress(Exception):  # it only makes others wait a little longer
            await self._ledger.lease.release()

    async def _hold(self) -> None:
        lease = self._ledger.lease
        self._is_deposed = False
        if not lease.epoch:
            if not await lease.acquire(self._wait):
                return
            self._wary_of = (self._consumer.batch or WARY) if lease.was_left else 0
        failure: Exception | None = None
        async with asyncio.TaskGroup() as group:
            others = [group.create_task(self._beat())]
            if self._keeper is not None:
                others.append(group.create_task(self._keeper.run()))
            try:
                await self._consume(group)
            except Exception as error:  # noqa: BLE001 - raised below, without the group around it
                failure = error
            finally:
                self._feed.close()
                for task in others:
                    task.cancel()
        if failure is not None:
            raise failure

    async def _beat(self) -> None:
        """Show that the holder lives, also while a handler takes its time."""
        while True:
            try:
                await self._ledger.lease.keep()
            except LeaseLostError:
                self._is_deposed = True
                self._woken.set()
                return
            except Exception as error:  # whatever it is, the lease just grows older
                logger.warning("%s cannot renew its lease: %s", self.name, error, exc_info=True)
            await asyncio.sleep(BEAT)

    # -- the loop -----------------------------------------------------------------------------

    async def _consume(self, group: asyncio.TaskGroup) -> None:
        consumer = self._consumer
        definition = Definition(consumer.name, consumer.interest, consumer.keep)
        standing = await self._ledger.declare(definition, self._begin)
        await self._feed.open()
        self._saving.begin()
        self._handling.blocked = await self._ledger.blocked()
        self._retrying.look()
        saved = standing
        while not self._is_ending():
            try:
                moved = await self._step(group, standing, saved)
            except LeaseLostError:
                if not await self._ledger.is_ours():
                    raise
                moved = await self._look_anew()  # an operator decided
            standing, saved = moved
            self._backoff.succeed()
        if self._is_deposed:
            raise LeaseLostError(f"another process has taken over {self.name!r}")
        if standing.status is not Status.RUNNING:
            return  # nothing was handled, and an operator may have had it go on meanwhile
        end = self._feed.passed(standing.position)
        await self._save(msgspec.structs.replace(standing, position=end), saved)

    async def _step(
        self, group: asyncio.TaskGroup, standing: Standing, saved: Standing
    ) -> tuple[Standing, Standing]:
        """Take one step; return where the consumer stands, and where its checkpoint does."""
        if self._looking.is_due():
            kept = await self._ledger.standing()
            if kept.turn != standing.turn:
                return await self._look_anew()
            standing = msgspec.structs.replace(standing, status=kept.status, reason=kept.reason)
        if standing.status is not Status.RUNNING:
            await self._wait(LOOK)
            return standing, saved
        has_tried = await self._retrying.run(standing)
        arrival = self._wanted(await self._feed.take(standing))
        if arrival is None:
            saved = await self._save_in_time(standing, saved)
            await self._wait(0.0 if has_tried else min(LOOK, self._retrying.delay))
        elif arrival.gap is not None:
            standing = saved = await self._meet(arrival.gap, standing)
        elif not arrival.records:
            standing = msgspec.structs.replace(standing, position=arrival.position)
            saved = await self._save_in_time(standing, saved)
        else:
            standing = saved = await self._handle(group, arrival, standing)
        return standing, saved

    def _wanted(self, arrival: Arrival | None) -> Arrival | None:
        """Leave out what the consumer has no use for, so that it costs no transaction."""
        wants = self._consumer.wants
        if wants is None or arrival is None:
            return arrival
        kept = [one for one in arrival.records if wants(one)]
        return msgspec.structs.replace(arrival, records=kept)

    async def _handle(
        self, group: asyncio.TaskGroup, arrival: Arrival, standing: Standing
    ) -> Standing:
        if self._wary_of:
            self._wary_of -= 1
            standing = await self._handling.put_first_aside(arrival, standing)
            self._retrying.look()
            return standing
        self._feed.read_ahead(group, arrival)
        before = len(self._handling.blocked)
        standing = await self._handling.run(arrival, standing)
        self._saving.begin()
        if before or self._handling.blocked:
            self._retrying.look()
            count = await self._ledger.count()
            if count >= self._consumer.max_parked:
                standing = stop_full(standing, count, most=self._consumer.max_parked)
                logger.error("%s stopped: %s", self.name, standing.reason)
                standing = await self._ledger.save(standing)
        return standing

    async def _meet(self, gap: Gap, standing: Standing) -> Standing:
        now = self._ledger.clock.now()
        new, met = meet_gap(standing, gap, on_gap=self._consumer.on_gap, now=now)
        new = await self._ledger.save(new, gap=met)
        if new.status is Status.STOPPED:
            logger.error("%s stopped: %s", self.name, new.reason)
        else:
            logger.warning("%s skips a gap (%s) after %s", self.name, met.reason, met.position)
        return new

    async def _look_anew(self) -> tuple[Standing, Standing]:
        self._feed.forget()
        standing = await self._ledger.standing()
        self._handling.blocked = await self._ledger.blocked()
        self._retrying.look()
        return standing, standing

    async def _save_in_time(self, standing: Standing, saved: Standing) -> Standing:
        return await self._save(standing, saved) if self._saving.is_due() else saved

    async def _save(self, standing: Standing, saved: Standing) -> Standing:
        if standing.position == saved.position:
            return saved
        return await self._ledger.save(standing)

    async def _wait(self, seconds: float) -> bool:
        """Wait, unless there is something to do; tell whether to go on."""
        timer = asyncio.get_running_loop().call_later(seconds, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            timer.cancel()
            self._woken.clear()
        return not self._is_ending()

    def __repr__(self) -> str:
        return f"<ConsumerRunner {self._consumer.name}>"
