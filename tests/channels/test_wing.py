"""Wings live with the line: opened with it, closed with it, however its closing goes."""

from __future__ import annotations

import asyncio

import pytest

from trunkline import Trunkline


async def test_wings_open_anew_after_a_closing_that_was_cancelled() -> None:
    line = Trunkline("memory://", close_grace=60.0)
    cache = line.cache("frogs")
    async with line:
        await cache.set("a", 1)
        begun = asyncio.Event()

        async def busy(_: object) -> None:
            begun.set()
            await asyncio.Event().wait()

        await line.subscribe("/a", busy)
        await line.publish("/a", 1)
        await begun.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await line.close()
        assert "a" not in cache
        async with asyncio.timeout(5):
            await line.open()
            await cache.set("b", 2)
    assert not cache.is_loaded


class Stub:
    """A wing that notes what befalls it."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.opened = self.closed = 0

    async def open(self) -> None:
        self.opened += 1

    async def close(self) -> None:
        self.closed += 1
        if self.fails:
            raise OSError("it does not close")

    def services(self) -> tuple[()]:
        return ()


async def test_a_wing_that_fails_to_close_keeps_no_other_open() -> None:
    line = Trunkline("memory://")
    wings = [line.add_wing(lambda _, wing=wing: wing) for wing in (Stub(), Stub(fails=True))]
    await line.open()
    with pytest.raises(OSError, match="does not close"):
        await line.close()
    await line.open()
    wings[1].fails = False
    await line.close()
    assert [(one.opened, one.closed) for one in wings] == [(2, 2), (2, 2)]
