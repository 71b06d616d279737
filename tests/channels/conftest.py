"""A line in memory with a hub, without an application around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.store.databases import (  # noqa: F401 - fixtures
    ground,
    postgres_ground,
    postgres_url,
    schema,
    sqlite_ground,
)
from trunkline.channels.filters import Filters
from trunkline.channels.hub import Hub
from trunkline.log.memory import MemoryLog
from trunkline.log.retention import Retention
from trunkline.model.channel import ChannelKey
from trunkline.model.message import Draft, Limits, Receipt
from trunkline.runtime.clock import SystemClock


class Station:
    """A log and a hub that reads it."""

    def __init__(self, log: MemoryLog) -> None:
        self.log = log
        self.filters = Filters()
        self.hub = Hub(log, self.filters, ring_bytes=10_000)

    async def publish(self, name: str, data: bytes = b"1", site: str | None = None) -> Receipt:
        (outcome,) = await self.log.append([[Draft(channel=ChannelKey(name, site), data=data)]])
        assert isinstance(outcome, tuple), outcome
        return outcome[0]

    async def settle(self) -> None:
        """Let the hub dispatch everything."""
        async with asyncio.timeout(5):
            while self.hub.head < (await self.log.last_ids(())).head:
                await asyncio.sleep(0)


@pytest.fixture
async def station() -> AsyncIterator[Station]:
    log = MemoryLog.from_url(
        "memory://", retention=Retention(Limits(None, None)), clock=SystemClock(), options={}
    )
    await log.open()
    station = Station(log)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(station.hub.run())
        yield station
        running.cancel()
    await log.close()
