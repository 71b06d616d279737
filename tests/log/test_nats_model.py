"""NATS against memory: whatever is done to both, they answer the same."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.log.server_model import SETTINGS, ServerAgainstMemory
from trunkline.log.nats import NatsLog
from trunkline.testing.nats_server import NatsServer
from trunkline.testing.running import running


class NatsAgainstMemory(ServerAgainstMemory):
    """Give each example a line of its own."""

    log = NatsLog

    @rule(seconds=st.sampled_from([0.5, 0.5, 4.0, 4.0, 31.0, 90000.0]))
    def let_time_pass(self, seconds):
        self.clock.advance(seconds)
        if seconds > 86400.0:
            # Here a receipt expires by its age, and with the next sweep in memory.
            expected, found = self.both(lambda log: log.sweep())
            assert found == expected


@pytest.fixture(scope="module", autouse=True)
def server():
    with running(NatsServer()) as server:
        NatsAgainstMemory.url = f"{server.url}?line=line{{}}"
        yield server


TestNatsAgainstMemory = NatsAgainstMemory.TestCase
TestNatsAgainstMemory.settings = SETTINGS
