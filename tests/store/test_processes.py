"""Processes that die by kill -9 lose nothing, double nothing, and stop nobody for long."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys

import pytest

from tests.store.databases import arrived, notes
from trunkline import Trunkline


@contextlib.asynccontextmanager
async def process(*arguments):
    """Run a worker of ours; it is killed in the end."""
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.store.workers",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            started.kill()
        await started.wait()


async def said(started):
    async with asyncio.timeout(60):
        return json.loads(await started.stdout.readline())


@pytest.mark.parametrize("who", ["guest", "own"])
async def test_killed_before_its_commit_it_was_never_there(ground, who):
    async with ground.line() as line:
        given = (ground.bare, "before") if who == "guest" else ("before",)
        async with process(who, ground.url, *given) as started:
            assert await said(started) == ["before"]
            started.kill()
            await started.wait()
            line.start_services()
            receipt = await line.publish("/a", "next")
            assert receipt.global_id == 1
            assert await notes(ground) == []


@pytest.mark.parametrize("who", ["guest", "own"])
async def test_killed_after_its_commit_everything_is_there(ground, who):
    async with ground.line() as line:
        given = (ground.bare, "after") if who == "guest" else ("after",)
        async with process(who, ground.url, *given) as started:
            assert await said(started) == ["after"]
            started.kill()
            await started.wait()
            line.start_services()
            assert await arrived(line, 2) == [1, 2]
            assert await notes(ground) == ["row"]


async def moved(line, ground, given):
    """Have guests publish pairs while a relay is killed and another takes over; check all."""
    count, guests = 40, 2
    async with contextlib.AsyncExitStack() as stack:
        relay = await stack.enter_async_context(process("worker", *given))
        assert (await said(relay))[0] == "relay"
        writers = [
            await stack.enter_async_context(
                process("guests", *given, ground.bare, str(who), str(count))
            )
            for who in range(guests)
        ]
        for _ in range(10):
            await said(writers[0])
        relay.kill()
        line.start_services()
        for writer in writers:
            await writer.stdout.read()
            assert await writer.wait() == 0
        found = await arrived(line, 2 * count * guests)
    assert len(found) == 2 * count * guests
    assert all([*a[:2], 1] == b for a, b in zip(found[::2], found[1::2], strict=True))
    for who in range(guests):
        assert [one[1] for one in found[::2] if one[0] == who] == list(range(count))


async def test_a_killed_relay_s_successor_moves_each_message_once(ground):
    async with ground.line(max_backlog_size=None) as line:
        await moved(line, ground, (ground.url, ""))


async def test_a_killed_relay_to_another_log_doubles_nothing(ground, tmp_path):
    log = f"sqlite:///{tmp_path}/log.db"
    async with Trunkline(log, max_backlog_size=None, outboxes=[ground.url]) as line:
        await moved(line, ground, (log, ground.url))
