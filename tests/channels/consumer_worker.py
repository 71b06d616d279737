"""What the tests' subprocesses consume; run as ``python -m tests.channels.consumer_worker``."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path

from trunkline import Trunkline
from trunkline.channels import consumer_ledger
from trunkline.channels.consumer import Retry
from trunkline.store.consumer_table import ConsumerTable
from trunkline.store.lease import Lease
from trunkline.worker import work_until


def say(*words) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def hang() -> None:
    """Stand still, loop and all, until the end comes from outside."""
    time.sleep(600)


def stand_still(flag) -> None:
    """Stand still until a file is there."""
    while not flag.exists():
        time.sleep(0.005)


def reach(step, wanted) -> None:
    if step == wanted:
        say(step)
        hang()


def hang_around_commits(line, wanted) -> None:
    """Hang once the checkpoint moved, or right after a commit."""
    move, transaction = ConsumerTable.move, line.transaction

    async def moved(*given, **named) -> None:
        await move(*given, **named)
        reach("moved", wanted)

    @contextlib.asynccontextmanager
    async def committed():
        async with transaction() as tx:
            yield tx
        reach("committed", wanted)

    ConsumerTable.move = moved
    line._roster._transact = committed


async def stop_at(url, step) -> None:
    """Consume until a step of the first page, and hang there."""
    line = Trunkline(url)

    @line.consumer("c", "/a")
    async def write(message, tx):
        reach("called", step)
        await tx.execute(note(tx), message.data)
        await tx.publish("/copies", message.data)
        reach("written", step)

    hang_around_commits(line, step)
    await line.open(run_consumers=True)
    await asyncio.sleep(600)


async def freeze(url, flag, takes_tx) -> None:
    """Freeze inside a handler until a file is there, then go on as if nothing had happened."""
    logging.basicConfig(level=logging.WARNING)  # on standard error
    line = Trunkline(url)

    async def handle(message, tx):
        if tx is not None:
            await tx.execute(note(tx), message.data)
        say("within")
        stand_still(Path(flag))

    async def handle_freely(message):
        await handle(message, None)

    line.consumer("c", "/a", handler=handle if takes_tx == "tx" else handle_freely)
    await line.open(run_consumers=True)
    await asyncio.sleep(600)


async def die(url, takes_tx) -> None:
    """Be a worker that a message kills, and takes over from the dead soon."""
    consumer_ledger.Lease = functools.partial(Lease, lasts=0.4)
    line = Trunkline(url)

    async def handle(message, tx):
        say(message.data)
        if message.data == "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        if tx is not None:
            await tx.execute(note(tx), message.data)

    async def handle_freely(message):
        await handle(message, None)

    line.consumer(
        "c",
        "/*",
        handler=handle if takes_tx == "tx" else handle_freely,
        retry=Retry(attempts=3, first=0.02, limit=0.02),
    )
    await line.open(run_consumers=True)
    await asyncio.sleep(600)


async def worker(url) -> None:
    """Be a worker that says what it did."""
    line = Trunkline(url)

    @line.consumer("c", "/a")
    async def write(message, tx):
        await tx.execute(note(tx), message.data)
        say(message.data)

    await work_until(line, asyncio.Event(), started=lambda names: say(*names))


def note(tx):
    return f"INSERT INTO note VALUES ({'?' if tx.dialect == 'sqlite' else '$1'})"


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    roles = {"stop_at": stop_at, "freeze": freeze, "worker": worker, "die": die}
    asyncio.run(roles[name](*arguments))
