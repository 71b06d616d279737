"""Several processes on one file: dense ids, wake-ups, and what a kill leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import sys
from pathlib import Path

import pytest

from tests.log.workers import draft, log_at
from trunkline.errors import LogError
from trunkline.model import codec
from trunkline.model.channel import ChannelKey

ROOT = Path(__file__).parents[2]


@contextlib.asynccontextmanager
async def worker(*words):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.log.workers",
        *map(str, words),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def said(process):
    """Return everything a worker says until its end, but a line that the kill cut."""
    text = (await process.stdout.read()).decode()
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


async def whole_line(log):
    records, after = [], 0
    while True:
        page = await log.read_all(after)
        records += page.records
        if page.upto >= page.head:
            return records
        after = page.upto


def check_line(records):
    """Ids are dense on the line and in each channel, and every pair is whole and adjacent."""
    assert [one.global_id for one in records] == list(range(1, len(records) + 1))
    counts = {}
    for one in records:
        counts[one.channel] = counts.get(one.channel, 0) + 1
        assert one.message_id == counts[one.channel]
    values = [codec.decode(one.data) for one in records]
    for first, second in zip(values[::2], values[1::2], strict=True):
        assert first[:3] == second[:3], "half a group"
        assert (first[3], second[3]) == (0, 1)
    return values


async def test_processes_share_one_line(tmp_path):
    """Three processes publish at once: no hole, no double, each publisher's own order kept."""
    path = tmp_path / "line.db"
    async with contextlib.AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(worker("publish", path, who, 4, 25)) for who in "abc"
        ]
        told = await asyncio.gather(*map(said, workers))
        assert [await one.wait() for one in workers] == [0, 0, 0]
    log = log_at(path)
    await log.open()
    records = await whole_line(log)
    values = check_line(records)
    assert len(records) == 3 * 4 * 25 * 2
    for who, lines in zip("abc", told, strict=True):
        for number, turn, ids in lines:
            assert [values[one - 1] for one in ids] == [
                [who, number, turn, 0],
                [who, number, turn, 1],
            ]
        for number in range(4):
            turns = [value[2] for value in values if value[:2] == [who, number]]
            assert turns == sorted(turns)
    await log.close()


async def test_reader_is_woken_by_another_process(tmp_path):
    """A watcher hears of commits made elsewhere, without a read of its own in between."""
    path = tmp_path / "line.db"
    log = log_at(path)
    await log.open()
    woken = asyncio.Event()
    log.watch(woken.set)
    async with worker("publish", path, "w", 1, 20) as process:
        seen = 0
        while seen < 40:
            async with asyncio.timeout(20):
                await woken.wait()
            woken.clear()
            seen += len((await log.read_all(seen)).records)
        assert await process.wait() == 0
    await log.close()


@pytest.mark.slow
async def test_kill_leaves_every_acknowledged_message_and_no_half_group(tmp_path):
    """Publishers killed with -9 at random moments: what was said to be stored is, in whole."""
    path = tmp_path / "line.db"
    chance = random.Random(11)
    log = log_at(path)
    await log.open()
    acknowledged = {}
    for round_ in range(8):
        async with worker("publish", path, f"k{round_}", 8, 100_000) as process:
            first = await process.stdout.readline()
            # Meanwhile this process appends too: a kill inside the turn must not stop it.
            for number in range(chance.randrange(1, 40)):
                pair = [draft("/own", ["own", round_, number, part]) for part in (0, 1)]
                await log.append([pair])
            process.kill()
            await process.wait()
            for line in [json.loads(first), *await said(process)]:
                acknowledged[tuple(line[2])] = [f"k{round_}", line[0], line[1]]
    values = check_line(await whole_line(log))
    assert len(acknowledged) > 8
    for (one, two), wanted in acknowledged.items():
        assert values[one - 1] == [*wanted, 0]
        assert values[two - 1] == [*wanted, 1]
    await log.close()


async def test_forked_child_is_told_to_open_its_own(tmp_path):
    """Using a log that was opened before a fork is an error, not a corrupt file."""
    log = log_at(tmp_path / "line.db")
    await log.open()
    await log.append([[draft("/a", 1)]])
    child = os.fork()
    if child == 0:
        code = 1
        try:
            log.append([]).send(None)
        except LogError as error:
            code = 0 if "fork" in str(error) else 2
        finally:
            os._exit(code)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    await log.append([[draft("/a", 2)]])
    assert (await log.last_ids([ChannelKey("/a")])).head == 2
    await log.close()
