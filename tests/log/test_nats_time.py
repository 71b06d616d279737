"""Time on a line in NATS: writers stamp by their own clocks, and nobody sees it run backwards."""

from __future__ import annotations

import asyncio

import pytest

from tests.log.nats_line import KEEP_ALL, Ledger, draft, opened
from trunkline.log.nats.address import parse_address
from trunkline.log.nats.connection import connect
from trunkline.log.nats.courier import Courier
from trunkline.log.nats.finding import Finder
from trunkline.log.nats.jetstream import JetStream
from trunkline.log.nats.line import Line
from trunkline.log.retention import Retention
from trunkline.model.channel import ChannelKey
from trunkline.model.interest import Interest
from trunkline.runtime.clock import SystemClock
from trunkline.testing.contracts.support import append, eventually, whole_channel, whole_line
from trunkline.testing.faults import FaultProxy, SteppedClock
from trunkline.testing.nats_server import NatsServer

HOUR = 3600.0
BEHIND = ChannelKey("/behind")


@pytest.fixture(scope="module")
async def server():
    async with NatsServer() as server:
        yield server


def clock(offset):
    found = SteppedClock()
    found.set_off(offset)
    return found


async def times_by_pages(url, line, limit, interest=None, *, is_fresh):
    """Read page by page, on wish each with a handle of its own, and return the times seen."""
    after, times = 0, []
    async with opened(url, line=line) as first:
        while True:
            if is_fresh:
                async with opened(url, line=line) as log:
                    page = await log.read_all(after, limit, interest)
            else:
                page = await first.read_all(after, limit, interest)
            times += [one.published_at for one in page.records]
            if page.upto >= page.head:
                return times
            after = page.upto


@pytest.mark.parametrize("is_fresh", [False, True], ids=["one reader", "a reader per page"])
@pytest.mark.parametrize("limit", [1, 2, 7, 100])
async def test_a_writer_that_heard_nothing_yet_turns_no_time_back(server, limit, is_fresh):
    """Stamped an hour behind what is stored in front of it, a message reads as late as that."""
    line = f"apart{limit}{is_fresh:d}"
    async with (
        FaultProxy(server.port) as proxy,
        opened(server.url, line=line, clock=clock(HOUR)) as ahead,
        opened(f"nats://127.0.0.1:{proxy.port}", line=line) as log,
    ):
        await append(log, [draft("/behind", "known")])
        proxy.freeze(requests=False)
        await append(ahead, *([draft("/ahead", number)] for number in range(5)))
        late = asyncio.create_task(append(log, [draft("/behind", "late")]))
        await eventually(lambda: proxy.held > 0)
        await append(ahead, *([draft("/ahead", number)] for number in range(5, 8)))
        proxy.heal()
        (receipt,) = await late
        assert 1 < receipt.global_id <= 9
        own = [one.published_at for one in await whole_channel(ahead, "/behind")]
        times = await times_by_pages(server.url, line, limit, is_fresh=is_fresh)
        assert len(times) == 10
        assert times == sorted(times)
        assert own[1] < times[-1] - HOUR / 2, "or nothing was there to be evened out"
        wanted = Interest(keys=frozenset({BEHIND, ChannelKey("/ahead")}))
        times = await times_by_pages(server.url, line, limit, wanted, is_fresh=is_fresh)
        assert times == sorted(times)


async def test_a_writer_begins_no_earlier_than_the_line_is(server):
    """Whoever opens a line stamps its first message no earlier than what is stored there."""
    async with opened(server.url, line="begin", clock=clock(HOUR)) as ahead:
        await append(ahead, [draft("/ahead", 1)])
        async with opened(server.url, line="begin") as log:
            await append(log, [draft("/behind", 1)])
            (own,) = await whole_channel(log, "/behind")
            (other,) = await whole_channel(log, "/ahead")
            assert own.published_at >= other.published_at


class BusyJetStream(JetStream):
    """Ask the server, and let something happen before its answer is there."""

    def meanwhile(self):
        """Do nothing yet."""

    async def direct(self, stream, body):
        found = await super().direct(stream, body)
        self.meanwhile()
        return found


async def test_what_is_stamped_while_a_writer_asks_for_the_time_stays_known(server):
    """Or its next message would be stamped before one that it says it heard of."""
    async with (
        opened(server.url, line="busy") as log,
        opened(server.url, line="busy") as other,
    ):
        await append(log, [draft("/log", 1)])
        await append(other, [draft("/other", 1)])
        (last,) = await append(log, [draft("/log", 2)])
    address, clock = parse_address(server.url, {"line": "busy"}), SystemClock()
    wire = await connect(address, lost=lambda: None, found=lambda: None)
    courier = Courier(wire, clock)
    try:
        await courier.open()
        jet = BusyJetStream(courier, address.api_prefix)
        line = Line(address, courier=courier, jet=jet, retention=Retention(KEEP_ALL), clock=clock)
        await line.open()
        era, later = line.era, clock.now() + HOUR
        jet.meanwhile = lambda: era.advance(last.global_id + 1, later)
        await Finder(jet).catch_up(era)
        assert era.heard == last.global_id + 1
        assert era.at == later
    finally:
        courier.close()
        await wire.close()


async def test_a_reader_that_waited_at_the_head_turns_no_time_back(server):
    """A page without messages tells nothing of how late it is where it ends."""
    async with (
        FaultProxy(server.port) as proxy,
        opened(server.url, line="tail", clock=clock(HOUR)) as ahead,
        opened(f"nats://127.0.0.1:{proxy.port}", line="tail") as log,
        opened(server.url, line="tail") as reader,
    ):
        await append(log, [draft("/behind", "known")])
        proxy.freeze(requests=False)
        (ahead_of,) = await append(ahead, [draft("/ahead", 1)])
        page = await reader.read_all(ahead_of.global_id)
        assert not page.records
        late = asyncio.create_task(append(log, [draft("/behind", "late")]))
        await eventually(lambda: proxy.held > 0)
        proxy.heal()
        await late
        (before,) = await whole_channel(ahead, "/ahead")
        (one,) = (await reader.read_all(page.upto)).records
        assert one.published_at >= before.published_at


@pytest.mark.parametrize("limit", [1, 20])
async def test_clocks_that_step_under_publishers_turn_no_time_back(server, limit):
    """While two writers' clocks step by an hour either way, times on the line never decrease."""
    ledger, clocks, line = Ledger(), [SteppedClock(), SteppedClock()], f"steps{limit}"
    async with (
        opened(server.url, line=line, clock=clocks[0]) as log,
        opened(server.url, line=line, clock=clocks[1]) as other,
    ):
        async with asyncio.TaskGroup() as group:
            for who in range(12):
                group.create_task(ledger.publish((log, other)[who % 2], who, pairs=who % 3 == 0))
            for step in (HOUR, -HOUR, HOUR / 2, 2 * HOUR):
                clocks[0].set_off(step)
                clocks[1].set_off(-step)
                count = len(ledger.told)
                await eventually(lambda count=count: len(ledger.told) > count + 40)
            ledger.stop.set()
        records = await whole_line(log)
        ledger.check(records)
        times = await times_by_pages(server.url, line, limit, is_fresh=False)
        assert len(times) == len(records)
        assert times == sorted(times)
        async with opened(server.url, line=line) as fresh:
            for one in records[:: max(1, len(records) // 40)]:
                page = await fresh.read_all(one.global_id - 1, 1)
                before = await fresh.read_all(one.global_id - 2, 1)
                assert page.records[0].published_at >= before.records[0].published_at
