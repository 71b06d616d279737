"""Every interleaving of register, publish, trim and reset: nothing is lost without notice."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from trunkline.channels.catchup import Gap
from trunkline.channels.filters import Filters
from trunkline.channels.hub import Hub
from trunkline.channels.ring import ENTRY_OVERHEAD
from trunkline.channels.subscription import Start, Subscription
from trunkline.log.memory import MemoryLog
from trunkline.log.port import PAGE_SIZE, Heads, Page
from trunkline.log.retention import Retention
from trunkline.model.channel import ChannelKey
from trunkline.model.interest import Interest, PatternInterest
from trunkline.model.message import Draft, Limits
from trunkline.model.position import Position
from trunkline.runtime.clock import SystemClock

CHANNELS = [ChannelKey("/a"), ChannelKey("/b"), ChannelKey("/c/1")]
INTERESTS = [
    Interest(frozenset({CHANNELS[0]})),
    Interest(frozenset({CHANNELS[0], CHANNELS[1]})),
    Interest(patterns=frozenset({PatternInterest("/c/*")})),
    Interest(frozenset({CHANNELS[1]}), frozenset({PatternInterest("/**")})),
]


class GatedLog(MemoryLog):
    """Stop every read before and after it looks, until the test lets it go on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waiting: list[asyncio.Future[None]] = []
        self.is_open = False

    async def _gate(self) -> None:
        if not self.is_open:
            future = asyncio.get_running_loop().create_future()
            self.waiting.append(future)
            await future

    async def read_all(
        self, after: int, limit: int = PAGE_SIZE, interest: Interest | None = None
    ) -> Page:
        await self._gate()
        page = await super().read_all(after, min(limit, 2), interest)
        await self._gate()
        return page

    async def read(self, channel: ChannelKey, after: int, limit: int = PAGE_SIZE) -> Page:
        await self._gate()
        page = await super().read(channel, after, min(limit, 2))
        await self._gate()
        return page

    async def last_ids(self, channels: Any) -> Heads:
        await self._gate()
        heads = await super().last_ids(channels)
        await self._gate()
        return heads


class Reader:
    """Record all a subscription is told."""

    def __init__(
        self,
        log: GatedLog,
        hub: Hub,
        interest: Interest,
        start: Start,
        trimmed: set[tuple[str, int]],
    ) -> None:
        self.trimmed = trimmed
        self.before_first: set[tuple[str, int]] = set()
        self.interest = interest
        self.start = start
        self.begun_at: Position | None = start.position
        self.told: list[Gap | tuple[str, int]] = []
        self.subscription = Subscription(log, hub, interest, start=start, on_gap=self.told.append)

    async def run(self) -> None:
        await self.subscription.open()
        if self.begun_at is None:
            self.begun_at = self.subscription.position
        async for message in self.subscription:
            assert self.interest.includes(ChannelKey(message.channel, message.site_id))
            if not self.told and self.start.from_oldest:
                self.before_first = set(self.trimmed)
            self.told.append((message.position.epoch, message.global_id))


class Interleavings(RuleBasedStateMachine):
    """Drive a hub and its readers one await at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        retention = Retention(Limits(None, None))
        self.log = self._call(self._make_log(retention))
        # A ring of two messages makes readers fall out of it all the time.
        self.hub = Hub(self.log, Filters(), ring_bytes=2 * (ENTRY_OVERHEAD + 10))
        self.tasks = [self.loop.create_task(self.hub.run())]
        self.readers: list[Reader] = []
        self.history: list[tuple[str, int, ChannelKey]] = []
        self.trimmed: set[tuple[str, int]] = set()
        self.last: dict[ChannelKey, int] = {}
        self._settle()

    async def _make_log(self, retention: Retention) -> GatedLog:
        log = GatedLog.from_url("memory://", retention=retention, clock=SystemClock(), options={})
        await log.open()
        return log

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def _settle(self) -> None:
        async def pause() -> None:
            for _ in range(20):
                await asyncio.sleep(0)

        self._call(pause())

    @rule(channel=st.sampled_from(CHANNELS))
    def publish(self, channel: ChannelKey) -> None:
        (outcome,) = self._call(self.log.append([[Draft(channel=channel, data=b"1")]]))
        (receipt,) = outcome
        self.history.append((receipt.epoch, receipt.global_id, channel))
        self.last[channel] = receipt.message_id
        self._settle()

    @precondition(lambda self: self.last)
    @rule(data=st.data())
    def trim(self, data: st.DataObject) -> None:
        channel = data.draw(st.sampled_from(sorted(self.last)))
        upto = data.draw(st.integers(1, self.last[channel]))
        self._call(self.log.trim(channel, upto))
        epoch = self.history[-1][0]
        ids = [g for e, g, c in self.history if e == epoch and c == channel]
        self.trimmed.update((epoch, g) for g in ids[:upto])
        self._settle()

    @precondition(lambda self: self.last)
    @rule()
    def reset(self) -> None:
        self._call(self.log.reset())
        self.last.clear()
        self._settle()

    @rule(
        interest=st.sampled_from(INTERESTS),
        begin=st.sampled_from(["now", "oldest", "position"]),
        back=st.integers(0, 6),
    )
    def register(self, interest: Interest, begin: str, back: int) -> None:
        start = Start(from_oldest=begin == "oldest")
        if begin == "position" and self.history:
            epoch, global_id, _ = self.history[-1]
            start = Start(position=Position(epoch, max(0, global_id - back)))
        reader = Reader(self.log, self.hub, interest, start, self.trimmed)
        self.readers.append(reader)
        self.tasks.append(self.loop.create_task(reader.run()))
        self._settle()

    @precondition(lambda self: self.log.waiting)
    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.log.waiting) - 1))
        self.log.waiting.pop(index).set_result(None)
        self._settle()

    def teardown(self) -> None:
        """Let everything run, publish once more everywhere, and check every record."""
        self.log.is_open = True
        for _ in range(2):
            while self.log.waiting:
                self.log.waiting.pop().set_result(None)
                self._settle()
            for _ in range(10):
                self._settle()
            for channel in CHANNELS:
                self.publish(channel)
        for _ in range(20):
            self._settle()
        for task in self.tasks:
            if task.done():
                task.result()
            task.cancel()
        self._call(asyncio.wait(self.tasks))
        self.loop.close()
        for reader in self.readers:
            self.check(reader)

    def check(self, reader: Reader) -> None:
        wanted = [(e, g) for e, g, channel in self.history if reader.interest.includes(channel)]
        position = reader.begun_at
        excused = 0
        for told in reader.told:
            if isinstance(told, Gap):
                self.check_gap(told, position, wanted)
                position = told.position
                excused = told.floor if told.reason == "trimmed" else 0
                continue
            assert told in wanted
            if position is not None and position.epoch == told[0]:
                assert told[1] > position.global_id, f"{told} came twice or out of order"
                missed = [
                    g
                    for e, g in wanted
                    if e == told[0]
                    and position.global_id < g < told[1]
                    and not (g <= excused and (e, g) in self.trimmed)
                    and (e, g) not in reader.before_first
                ]
                assert not missed, f"{missed} lost in silence before {told} of {reader.told}"
            elif position is not None:
                raise AssertionError(f"{told} is of an epoch the reader was not told of")
            position = Position(*told)
        assert position is not None
        rest = [g for e, g in wanted if e == position.epoch and g > position.global_id]
        assert not rest, f"{rest} never arrived: {reader.told}"
        assert position.epoch == wanted[-1][0], "the reader never learned of the reset"

    def check_gap(self, gap: Gap, position: Position | None, wanted: list[tuple[str, int]]) -> None:
        """A gap must be true: something wanted was trimmed, or the epoch is another."""
        if gap.reason == "reset":
            assert position is None or gap.position.epoch != position.epoch
            return
        after = gap.after
        assert any(
            one in self.trimmed and after < one[1] <= gap.floor
            for one in wanted
            if one[0] == gap.position.epoch
        ), f"{gap} announced, but nothing was lost"


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
