"""The Redis engine: the contract, over a real server."""

from __future__ import annotations

import itertools
from contextlib import AsyncExitStack

import pytest

from trunkline.log.redis import RedisLog
from trunkline.log.retention import Retention
from trunkline.runtime.clock import SystemClock
from trunkline.testing.contracts import LogContract
from trunkline.testing.redis_server import RedisServer

numbers = itertools.count()


@pytest.fixture(scope="module")
async def server():
    async with RedisServer() as server:
        yield server


class TestRedisLog(LogContract):
    """The native layout keeps the contract; every line has a prefix of its own."""

    @pytest.fixture
    async def open_log(self, server):
        prefix = f"line{next(numbers)}:"
        async with AsyncExitStack() as stack:

            async def open_log(retention=None, clock=None):
                log = RedisLog.from_url(
                    f"{server.log_url}?prefix={prefix}",
                    retention=retention or Retention(),
                    clock=clock or SystemClock(),
                    options={},
                )
                await log.open()
                stack.push_async_callback(log.close)
                return log

            yield open_log
