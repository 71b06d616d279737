"""Backlogs: what is read in pages ends, and says what is missing."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.channels.conftest import Station
from trunkline.channels.backlog import read_backlog
from trunkline.log.port import PAGE_SIZE, Page
from trunkline.model.channel import ChannelKey


async def test_one_that_is_erased_while_it_is_read_ends_and_is_not_complete(
    station: Station, monkeypatch: Any
) -> None:
    for _ in range(PAGE_SIZE + 500):
        await station.publish("/a")
    read = station.log.read

    async def read_and_erase(*args: Any) -> Page:
        await asyncio.sleep(0)
        page = await read(*args)
        if args[1] == 0:
            await station.log.reset()
            await station.publish("/a")
        return page

    monkeypatch.setattr(station.log, "read", read_and_erase)
    async with asyncio.timeout(5):
        found = await read_backlog(station.log, ChannelKey("/a"), 0, None)
    assert len(found) == PAGE_SIZE
    assert not found.is_complete
