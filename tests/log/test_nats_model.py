"""NATS against memory: whatever is done to both, they answer the same."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.log.test_sqlite_model import SQLiteAgainstMemory, interests
from trunkline.log.memory import MemoryLog
from trunkline.log.nats import NatsLog
from trunkline.log.retention import Retention
from trunkline.model.channel import Kind, is_stream_name
from trunkline.model.message import Limits
from trunkline.testing.clock import ManualClock
from trunkline.testing.nats_server import NatsServer

numbers = itertools.count()
urls = []


@pytest.fixture(scope="module", autouse=True)
def server():
    """Run one server for all examples, each of which has a line of its own."""
    loop = asyncio.new_event_loop()
    server = NatsServer()
    loop.run_until_complete(server.start())
    urls.append(server.url)
    yield server
    loop.run_until_complete(server.stop())
    loop.close()


def is_kept(draft):
    return draft.kind is Kind.PLAIN and not is_stream_name(draft.channel.name)


class NatsAgainstMemory(SQLiteAgainstMemory):
    """Do everything to both logs, the server through two handles in turns."""

    def __init__(self):
        super().__init__()
        self.clock = ManualClock()
        self.retention = Retention(Limits(3, 30.0))
        made = {"retention": self.retention, "clock": self.clock, "options": {}}
        url = f"{urls[-1]}?line=line{next(numbers)}"
        self.files = [NatsLog.from_url(url, **made) for _ in range(2)]
        self.memory = MemoryLog.from_url("memory://", **made)

    def append_to_both(self, groups):
        super().append_to_both([list(filter(is_kept, group)) for group in groups])

    @rule(seconds=st.sampled_from([0.5, 0.5, 4.0, 4.0, 31.0, 90000.0]))
    def let_time_pass(self, seconds):
        self.clock.advance(seconds)
        if seconds > 86400.0:
            # Here a receipt expires by its age, and with the next sweep in memory.
            expected, found = self.both(lambda log: log.sweep())
            assert found == expected

    @rule(after=st.integers(0, 40), limit=st.integers(1, 5), interest=interests)
    def read_all(self, after, limit, interest):
        async def whole(log):
            position, records, lost = after, [], []
            while True:
                page = await log.read_all(position, limit, interest)
                records += page.records
                # A floor that nobody stands below need not be told.
                lost.append(page.floor if page.floor > after else 0)
                if page.upto >= page.head:
                    return records, lost[0], page.head
                assert page.upto > position
                position = page.upto

        expected, found = self.both(whole)
        assert found == expected


TestNatsAgainstMemory = NatsAgainstMemory.TestCase
TestNatsAgainstMemory.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
