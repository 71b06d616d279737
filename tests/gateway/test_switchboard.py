"""Whatever a connection does and when it pauses, each of its channels is told whole, in order."""

from __future__ import annotations

import asyncio
import itertools
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.channels.bus import Bus
from trunkline.channels.filters import Filters
from trunkline.channels.hub import Hub
from trunkline.gateway.access import Gatekeeper
from trunkline.gateway.framing import SOCKET_TEXTS
from trunkline.gateway.options import GatewayOptions
from trunkline.gateway.switchboard import Switchboard
from trunkline.log.memory import MemoryLog
from trunkline.log.retention import Retention
from trunkline.model.identity import ANONYMOUS, Viewer
from trunkline.model.position import Position
from trunkline.runtime.clock import SystemClock
from trunkline.wire.start import Edge

CHANNELS = ("/a", "/b", "/c")


class Paper:
    """Be a sink that keeps what it is told, and refuses to be written to when told so."""

    def __init__(self):
        self.owner = None
        self.is_writable = True
        self.told = []
        self.backlog = 0
        self.refuses_after = None

    def write(self, payload):
        assert self.is_writable, "written to while paused"
        self.told += [msgspec.json.decode(text) for text in payload]
        if self.refuses_after is not None:
            self.refuses_after -= 1
            if self.refuses_after <= 0:
                self.is_writable = False

    def reply(self, frame):
        if frame:
            self.told.append(msgspec.json.decode(frame))

    def finish(self, payload):
        self.is_writable = False

    def abort(self):
        self.is_writable = False

    def resume(self):
        self.refuses_after = None
        if not self.is_writable:
            self.is_writable = True
            self.owner.on_writable()

    def messages(self, channel):
        return [
            one["global_id"]
            for one in self.told
            if one["type"] == "message" and one["channel"] == channel
        ]


class World:
    """Hold a line, a switchboard and one connection, and what it must have been told."""

    def __init__(self, ring_bytes=4096):
        self.log = MemoryLog(retention=Retention(), clock=SystemClock())
        filters = Filters()
        self.hub = Hub(self.log, filters, ring_bytes=ring_bytes)

        async def ready():
            return

        self.bus = Bus(self.log, self.hub, filters=filters, ready=ready, listen=lambda _: None)
        self.options = GatewayOptions()
        self.board = Switchboard(
            self.log,
            self.hub,
            options=self.options,
            gatekeeper=Gatekeeper(open=True),
            clock=SystemClock(),
        )
        self.paper = Paper()
        self.published = {channel: [] for channel in CHANNELS}
        self.expected = {}
        self.seen = {}

    def connect(self):
        viewer = Viewer(ANONYMOUS, "c", strict=False)
        return self.board.connect(viewer, SOCKET_TEXTS, self.paper, transport="test")

    async def publish(self, channel):
        receipt = await self.bus.publish(channel, "x" * 40)
        self.published[channel].append(receipt.global_id)
        if channel in self.expected:
            self.expected[channel].append(receipt.global_id)

    async def add(self, connection, names, start, last):
        fresh = [name for name in names if name not in self.expected]
        for name in fresh:
            published = self.published[name]
            if last is not None:
                due = published[-last:] if last else []
            elif start is Edge.OLDEST:
                due = list(published)
            elif isinstance(start, Position):
                due = [number for number in published if number > start.global_id]
            else:
                due = []
            self.expected[name] = list(due)
            self.seen[name] = len(self.paper.messages(name))
        await connection.add(dict.fromkeys(names, start), last=last)

    async def remove(self, connection, names):
        await connection.remove(names)
        for name in names:
            if name in self.expected:
                told = self.paper.messages(name)[self.seen[name] :]
                assert told == self.expected[name][: len(told)], f"{name} before it was given up"
                self.seen[name] += len(told)
                del self.expected[name]

    async def check(self):
        for _ in range(2000):
            await asyncio.sleep(0)
            told = {n: self.paper.messages(n)[self.seen[n] :] for n in self.expected}
            if told == self.expected:
                return
        await asyncio.sleep(0.05)
        told = {n: self.paper.messages(n)[self.seen[n] :] for n in self.expected}
        assert told == self.expected


names = st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=3, unique=True)
starts = st.sampled_from(["now", "oldest", "middle", "last"])
actions = st.one_of(
    st.tuples(st.just("add"), names, starts),
    st.tuples(st.just("publish"), st.sampled_from(CHANNELS), st.integers(1, 3)),
    st.tuples(st.just("publish"), st.sampled_from(CHANNELS), st.integers(1, 30)),
    st.tuples(st.just("add"), names, starts),
    st.tuples(st.just("remove"), names, st.none()),
    st.tuples(st.just("pause"), st.integers(1, 3), st.none()),
    st.tuples(st.just("resume"), st.none(), st.none()),
    st.tuples(st.just("turn"), st.integers(1, 40), st.none()),
)


@given(st.lists(actions, min_size=3, max_size=30), st.sampled_from([2048, 100_000]))
@settings(max_examples=1500)
def test_every_subscription_is_told_whole(script, ring_bytes):
    asyncio.run(play(script, ring_bytes))


async def play(script, ring_bytes):
    world = World(ring_bytes)
    await world.log.open()
    async with asyncio.TaskGroup() as tasks:
        hub = tasks.create_task(world.hub.run())
        connection = world.connect()
        for action, what, more in script:
            await act(world, connection, action, what, more)
        world.paper.resume()
        await world.check()
        connection.end("shutdown")
        assert not world.board.connections
        assert not tuple(world.board.cohorts)
        assert not tuple(world.hub.tracks)
        await world.board.close()
        hub.cancel()


async def act(world, connection, action, what, more):
    if action == "publish":
        for _ in range(more):
            await world.publish(what)
    elif action == "add":
        heads = await world.log.last_ids(())
        start = {
            "oldest": Edge.OLDEST,
            "middle": Position(heads.epoch, heads.head // 2),
        }.get(more, Edge.NOW)
        await world.add(connection, what, start, 3 if more == "last" else None)
    elif action == "remove":
        await world.remove(connection, what)
    elif action == "pause":
        world.paper.refuses_after = what
    elif action == "resume":
        world.paper.resume()
    else:
        for _ in range(what):
            await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(3))
async def test_what_is_published_and_then_stops_reaches_all(seed):
    """A pass that compares with the wrong head leaves a few waiting for the next publish."""
    chance = random.Random(seed)
    world = World(ring_bytes=100_000)
    # Every look at the clock ends a slice, so that all sorts of things come between two strides.
    world.board.pump.now = itertools.count().__next__
    await world.log.open()
    async with asyncio.TaskGroup() as tasks:
        hub = tasks.create_task(world.hub.run())
        papers = []
        for _ in range(30):
            for _ in range(10):
                paper = world.paper = Paper()
                await world.connect().add({"/a": Edge.OLDEST})
                papers.append(paper)
            for _ in range(chance.randint(1, 6)):
                for paper in papers:
                    if chance.random() < 0.05:
                        paper.refuses_after = chance.randint(1, 2)
                await world.publish("/a")
                for _ in range(chance.randint(0, 5)):
                    await asyncio.sleep(0)
            for paper in papers:
                paper.resume()
            async with asyncio.timeout(5):
                while any(paper.messages("/a") != world.published["/a"] for paper in papers):
                    await asyncio.sleep(0)
        await world.board.close()
        hub.cancel()
