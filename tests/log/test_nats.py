"""The NATS engine: the contract, on one server and on a cluster of three."""

from __future__ import annotations

import secrets
from contextlib import AsyncExitStack

import pytest

from trunkline.log.nats import NatsLog
from trunkline.log.retention import Retention
from trunkline.runtime.clock import SystemClock
from trunkline.testing.contracts import LogContract
from trunkline.testing.nats_server import NatsServer


@pytest.fixture(scope="module")
async def server():
    """One server for all tests of this module; each test has a line of its own."""
    async with NatsServer() as server:
        yield server


@pytest.fixture
async def open_log(server):
    async with AsyncExitStack() as stack:
        line = secrets.token_hex(4)

        async def open_log(retention=None, clock=None, **options):
            log = NatsLog.from_url(
                server.url,
                retention=retention or Retention(),
                clock=clock or SystemClock(),
                options={"line": line, **options},
            )
            await log.open()
            stack.push_async_callback(log.close)
            return log

        yield open_log


class TestNatsLog(LogContract):
    """The NATS engine keeps the contract; every handle has a connection of its own."""
