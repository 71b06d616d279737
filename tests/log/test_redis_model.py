"""Redis against memory: whatever is done to both, they answer the same."""

from __future__ import annotations

import pytest

from tests.log.server_model import SETTINGS, ServerAgainstMemory
from trunkline.log.redis import RedisLog
from trunkline.testing.redis_server import RedisServer
from trunkline.testing.running import running


class RedisAgainstMemory(ServerAgainstMemory):
    """Give each example a prefix of its own."""

    log = RedisLog


@pytest.fixture(scope="module", autouse=True)
def server():
    with running(RedisServer("--appendfsync", "no")) as server:
        RedisAgainstMemory.url = f"{server.log_url}?prefix=line{{}}:"
        yield server


TestRedisAgainstMemory = RedisAgainstMemory.TestCase
TestRedisAgainstMemory.settings = SETTINGS
