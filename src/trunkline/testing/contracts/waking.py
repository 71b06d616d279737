"""Wake-ups: hints that come after news, on the loop, until they are cancelled."""

from __future__ import annotations

import asyncio
import threading

import pytest

from trunkline.testing.contracts.support import (
    OpenLog,
    append,
    eventually,
    plain,
    values,
    whole_line,
)

pytestmark = pytest.mark.anyio


class WakeContract:
    """Hold an engine to what watching promises."""

    async def test_append_wakes_on_the_loop(self, open_log: OpenLog) -> None:
        """A watcher is called in the loop's thread after an append."""
        log = await open_log()
        threads: list[int] = []
        log.watch(lambda: threads.append(threading.get_ident()))
        await append(log, [plain("/a", 1)])
        await eventually(lambda: bool(threads))
        assert set(threads) == {threading.get_ident()}

    async def test_woken_reader_finds_the_news(self, open_log: OpenLog) -> None:
        """Whoever reads when woken misses nothing, however the appends fall."""
        log, other = await open_log(), await open_log()
        woken = asyncio.Event()
        log.watch(woken.set)
        seen: list[int] = []

        async def read() -> None:
            after = 0
            while len(seen) < 60:
                async with asyncio.timeout(10.0):
                    await woken.wait()
                woken.clear()
                page = await log.read_all(after)
                seen.extend(values(page.records))
                after = page.upto

        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            for number in range(60):
                await append((log, other)[number % 2], [plain("/a", number)])
        assert seen == list(range(60))

    async def test_cancelled_watch_is_silent(self, open_log: OpenLog) -> None:
        """After cancelling, no call comes; cancelling again does nothing."""
        log = await open_log()
        gone: list[int] = []
        there: list[int] = []
        cancel = log.watch(lambda: gone.append(1))
        log.watch(lambda: there.append(1))
        cancel()
        cancel()
        await append(log, [plain("/a", 1)])
        await eventually(lambda: bool(there))
        assert gone == []

    async def test_failing_watcher_harms_nobody(self, open_log: OpenLog) -> None:
        """An exception in one watcher neither stops the others nor fails the append."""
        log = await open_log()
        there: list[int] = []

        def fail() -> None:
            raise RuntimeError("on purpose")

        log.watch(fail)
        log.watch(lambda: there.append(1))
        (receipt,) = await append(log, [plain("/a", 1)])
        assert receipt.message_id == 1
        await eventually(lambda: bool(there))

    async def test_append_of_another_handle_wakes(self, open_log: OpenLog) -> None:
        """A watcher hears of what came through another handle on the line."""
        log, other = await open_log(), await open_log()
        woken = asyncio.Event()
        log.watch(woken.set)
        for number in range(3):
            woken.clear()
            await append(other, [plain("/a", number)])
            async with asyncio.timeout(10.0):
                await woken.wait()
        assert values(await whole_line(log)) == [0, 1, 2]

    async def test_reset_wakes(self, open_log: OpenLog) -> None:
        """A reset through another handle is news: its readers must learn of the new epoch."""
        log, other = await open_log(), await open_log()
        await append(log, [plain("/a", 1)])
        woken = asyncio.Event()
        log.watch(woken.set)
        await other.reset()
        async with asyncio.timeout(10.0):
            await woken.wait()
        assert (await log.read_all(0)).head == 0
