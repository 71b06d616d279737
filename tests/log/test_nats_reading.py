"""Reading far behind the head on NATS: whatever way is taken, it is what memory answers."""

from __future__ import annotations

import random
import secrets

import pytest

from tests.log.nats_line import KEEP_ALL, draft, opened
from trunkline.log.memory import MemoryLog
from trunkline.log.retention import Retention
from trunkline.model.channel import ChannelKey
from trunkline.model.interest import ANY_SITE, EVERYTHING, Interest, PatternInterest
from trunkline.testing.clock import ManualClock
from trunkline.testing.nats_server import NatsServer

COUNT = 5000


@pytest.fixture(scope="module")
async def server():
    async with NatsServer() as server:
        yield server


@pytest.fixture(scope="module")
async def both(server):
    """Fill a line and its double in memory, trim here and there, and read with a fresh handle."""
    chance = random.Random(7)
    clock, retention = ManualClock(), Retention(KEEP_ALL)
    memory = MemoryLog.from_url("memory://", retention=retention, clock=clock, options={})
    await memory.open()
    line = secrets.token_hex(4)
    async with opened(server.url, line=line, clock=clock, retention=retention) as log:
        names = ["/hot", "/warm/1", "/warm/2"] + [f"/quiet/{number}" for number in range(60)]
        weights = [60, 15, 15] + [1] * 60
        for start in range(0, COUNT, 500):
            chosen = chance.choices(names, weights, k=500)
            groups = [[draft(name, start + index)] for index, name in enumerate(chosen)]
            for one in (memory, log):
                await one.append(groups)
            clock.advance(1.0)
        for name, upto in (("/warm/1", 300), ("/quiet/3", 999), ("/quiet/4", 2)):
            assert await memory.trim(ChannelKey(name), upto) == await log.trim(
                ChannelKey(name), upto
            )
    async with opened(server.url, line=line, clock=clock, retention=retention) as fresh:
        yield memory, fresh


@pytest.mark.parametrize("name", ["/hot", "/warm/1", "/quiet/3", "/quiet/4", "/nowhere"])
@pytest.mark.parametrize("limit", [1, 17, 1000])
async def test_channel_is_read_from_anywhere(both, name, limit):
    """A page of one channel is the same from every place."""
    memory, log = both
    for after in (0, 1, 2, 100, 299, 300, 301, 500, 2000, 3999, 10_000):
        expected = await memory.read(ChannelKey(name), after, limit)
        found = await log.read(ChannelKey(name), after, limit)
        assert list(found.records) == list(expected.records)
        assert (found.floor, found.head, found.upto) == (
            expected.floor,
            expected.head,
            expected.upto,
        )


@pytest.mark.parametrize(
    "interest",
    [
        None,
        EVERYTHING,
        Interest(),
        Interest(keys=frozenset({ChannelKey("/quiet/9")})),
        Interest(keys=frozenset({ChannelKey("/quiet/3")})),
        Interest(keys=frozenset({ChannelKey(f"/quiet/{number}") for number in range(9)})),
        Interest(keys=frozenset({ChannelKey(f"/quiet/{number}") for number in range(50)})),
        Interest(keys=frozenset({ChannelKey("/hot"), ChannelKey("/quiet/1")})),
        Interest(patterns=frozenset({PatternInterest("/warm/*")})),
        Interest(patterns=frozenset({PatternInterest("/quiet/**", ANY_SITE)})),
        Interest(patterns=frozenset({PatternInterest("/quiet/1", "s")})),
        Interest(frozenset({ChannelKey("/quiet/1")}), frozenset({PatternInterest("/warm/:which")})),
    ],
)
@pytest.mark.parametrize("limit", [70, 1000])
async def test_line_is_read_from_anywhere(both, interest, limit):
    """All that is wanted comes once, in order, with the floor that it had from the first page."""
    memory, log = both

    async def whole(one, after):
        records, position = [], after
        first = await one.read_all(after, limit, interest)
        while True:
            page = await one.read_all(position, limit, interest)
            assert len(page.records) <= limit
            records += page.records
            if page.upto >= page.head:
                return records, first.floor if first.floor > after else 0
            assert page.upto > position
            position = page.upto

    for after in (0, 700, COUNT - 1, COUNT):
        assert await whole(log, after) == await whole(memory, after)


async def test_reader_beyond_the_head_is_told_the_head(both):
    """Whoever stands beyond the head gets nothing, and learns where the line ends."""
    _, log = both
    for after in (COUNT + 1, 2**40, 2**62):
        page = await log.read_all(after)
        assert (list(page.records), page.upto, page.head) == ([], COUNT, COUNT)


async def test_heads_of_many_channels_are_of_one_moment(both):
    """More channels than one request may name are told together."""
    memory, log = both
    keys = [ChannelKey(f"/quiet/{number}") for number in range(2500)]
    assert dict((await log.last_ids(keys)).ids) == dict((await memory.last_ids(keys)).ids)
