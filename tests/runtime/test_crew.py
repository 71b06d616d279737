"""Background work runs until it ends or its crew closes, and closing never hangs."""

from __future__ import annotations

import asyncio
import logging

import pytest

from trunkline.errors import LineClosedError
from trunkline.runtime.crew import Crew


async def opened() -> Crew:
    crew = Crew("crew")
    await crew.open()
    return crew


async def test_closing_cancels_what_runs() -> None:
    crew, ended = await opened(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    crew.start("work", work)
    await asyncio.sleep(0)
    await crew.close()
    assert ended.is_set()


async def test_within_its_grace_work_ends_by_itself() -> None:
    crew, go, finished = await opened(), asyncio.Event(), []

    async def work() -> None:
        await go.wait()
        finished.append(True)

    crew.start("work", work, finishes=True)
    closing = asyncio.ensure_future(crew.close(grace=10))
    await asyncio.sleep(0)
    go.set()
    await closing
    assert finished


async def test_a_failure_is_told_and_ends_only_itself(caplog: pytest.LogCaptureFixture) -> None:
    crew, done = await opened(), asyncio.Event()

    async def fail() -> None:
        raise ValueError("boom")

    async def work() -> None:
        await asyncio.sleep(0)
        done.set()

    crew.start("failing", fail)
    crew.start("working", work)
    await asyncio.wait_for(done.wait(), 5)
    await crew.close()
    assert "failing failed" in caplog.text
    caplog.clear()


async def test_a_member_may_close_its_own_crew() -> None:
    crew, closed = await opened(), asyncio.Event()

    async def work() -> None:
        await crew.close(grace=60)
        closed.set()

    async def other() -> None:
        await asyncio.Event().wait()

    crew.start("other", other)
    crew.start("work", work, finishes=True)
    await asyncio.wait_for(closed.wait(), 3)


async def test_work_that_resists_is_left(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew, let_go = await opened(), asyncio.Event()

    async def stubborn() -> None:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    monkeypatch.setattr("trunkline.runtime.crew.PATIENCE", 0.05)
    crew.start("stubborn", stubborn)
    await asyncio.sleep(0)
    with caplog.at_level(logging.ERROR):
        await asyncio.wait_for(crew.close(), 3)
    assert "stubborn" in caplog.text
    let_go.set()


async def test_nothing_starts_before_it_opens_or_after_it_closes() -> None:
    crew = Crew("crew")

    async def work() -> None: ...

    with pytest.raises(LineClosedError):
        crew.start("work", work)
    await crew.close()
    await crew.open()
    await crew.close()
    await crew.close()
    with pytest.raises(LineClosedError):
        crew.start("work", work)


async def test_a_closing_that_is_cancelled_ends_the_work_all_the_same() -> None:
    crew, begun, ended = await opened(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    crew.start("work", work, finishes=True)
    await begun.wait()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await crew.close(grace=60.0)
    async with asyncio.timeout(5):
        await ended.wait()
