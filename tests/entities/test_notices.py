"""The notice board: what it says has not changed has not, whatever it had to forget."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from trunkline.channels.filters import Filters
from trunkline.channels.hub import Hub
from trunkline.entities import notices
from trunkline.entities.notices import NoticeBoard, notice_channel, notice_draft
from trunkline.log.memory import MemoryLog
from trunkline.log.retention import Retention
from trunkline.model.entity import entity_key
from trunkline.model.message import Limits
from trunkline.model.position import Position
from trunkline.runtime.clock import SystemClock


class SlowLog(MemoryLog):
    """A log between whose answers and their readers something happens."""

    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def read_all(self, *args: Any, **options: Any) -> Any:
        page = await super().read_all(*args, **options)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return page


async def test_what_is_forgotten_while_the_log_is_read_counts_as_changed(monkeypatch) -> None:
    monkeypatch.setattr(notices, "MAX_REMEMBERED", 2)
    log = SlowLog.from_url(
        "memory://", retention=Retention(Limits(None, None)), clock=SystemClock(), options={}
    )
    await log.open()
    hub = Hub(log, Filters())
    heard: list[str] = []

    async def change(*ids: str) -> None:
        before = len(heard)
        for one in ids:
            await log.append([[notice_draft("p", entity_key("items", one))]])
        async with asyncio.timeout(5):
            while board.recollection.epoch and len(heard) < before + len(ids):
                await asyncio.sleep(0)

    board = NoticeBoard(
        notice_channel("p", "items"),
        log,
        hub,
        on_change=lambda key, _: heard.append(key.id),
        on_loss=lambda: None,
    )
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(hub.run())
        await change("a", "b")
        await board.open()
        await change("x", "c")
        epoch = board.recollection.epoch
        log.meanwhile = lambda: change("d")
        await board.reach_back(Position(epoch, 1))
        assert not board.recollection.is_unchanged("x", Position(epoch, 2))
        running.cancel()
    await log.close()
