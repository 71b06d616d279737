"""What the tests' subprocesses do with a line's file; run as ``python -m tests.log.workers``."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys

from trunkline.errors import TrunklineError
from trunkline.log.port import Log
from trunkline.log.retention import Retention
from trunkline.log.sqlite import SQLiteLog
from trunkline.model import codec
from trunkline.model.channel import ChannelKey
from trunkline.model.message import Draft, Limits
from trunkline.runtime.clock import SystemClock

KEEP_ALL = Limits(None, None)


def log_at(path, *, limits=KEEP_ALL, **options) -> Log:
    return SQLiteLog.from_url(
        f"sqlite:///{path}", retention=Retention(limits), clock=SystemClock(), options=options
    )


def draft(name, data, **options) -> Draft:
    return Draft(channel=ChannelKey(name), data=codec.encode(data), **options)


def say(*words) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


async def publish(path, who, publishers, count) -> None:
    """Publish pairs as groups from several tasks, and say each pair once it is acknowledged."""
    log = log_at(path)
    await log.open()

    async def one(number):
        for turn in range(int(count)):
            name = f"/c/{(number + turn) % 5}"
            pair = [draft(name, [who, number, turn, part]) for part in (0, 1)]
            (receipts,) = await log.append([pair])
            if isinstance(receipts, TrunklineError):
                raise receipts
            say(number, turn, [receipt.global_id for receipt in receipts])

    async with asyncio.TaskGroup() as group:
        for number in range(int(publishers)):
            group.create_task(one(number))
    await log.close()


async def fill(path, limit) -> None:
    """Publish until the file may not grow further, then say what held and what works again."""
    log = log_at(path)
    await log.open()
    await log.append([[draft("/a", 0)]])
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
    stored = 1
    try:
        while True:
            await log.append([[draft("/a", stored), draft("/b", "x" * 50_000)]])
            stored += 1
    except TrunklineError as error:
        say("error", type(error).__name__, str(error))
    page = await log.read(ChannelKey("/a"), 0, 100_000)
    say("kept", stored, len(page.records))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    (receipts,) = await log.append([[draft("/a", "again")]])
    say("again", receipts[0].message_id, receipts[0].global_id)
    await log.close()


async def forbidden(path) -> None:
    """Open a file that may not be written; root gives up its rights first."""
    if os.geteuid() == 0:
        os.setegid(65534)
        os.seteuid(65534)
    try:
        await log_at(path).open()
    except TrunklineError as error:
        say(type(error).__name__, str(error))


if __name__ == "__main__":
    asyncio.run(
        {"publish": publish, "fill": fill, "forbidden": forbidden}[sys.argv[1]](*sys.argv[2:])
    )
