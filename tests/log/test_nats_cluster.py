"""The NATS engine on a cluster of three servers with three replicas: the contract."""

from __future__ import annotations

import secrets
from contextlib import AsyncExitStack

import pytest

from trunkline.log.nats import NatsLog
from trunkline.log.retention import Retention
from trunkline.runtime.clock import SystemClock
from trunkline.testing.contracts import LogContract
from trunkline.testing.nats_server import NatsCluster


@pytest.fixture(scope="module")
async def cluster():
    """One cluster for all tests of this module; each test has a line of its own."""
    async with NatsCluster() as cluster:
        yield cluster


class TestNatsCluster(LogContract):
    """Three replicas keep the contract; every handle has a connection of its own."""

    @pytest.fixture
    async def open_log(self, cluster):
        async with AsyncExitStack() as stack:
            line = secrets.token_hex(4)

            async def open_log(retention=None, clock=None):
                log = NatsLog.from_url(
                    f"{cluster.url}?line={line}",
                    retention=retention or Retention(),
                    clock=clock or SystemClock(),
                    options={},
                )
                await log.open()
                stack.push_async_callback(log.close)
                return log

            yield open_log
