"""What the tests' subprocesses do with a store; run as ``python -m tests.store.workers``."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import time

import psycopg

from trunkline import Trunkline
from trunkline.worker import work_until


def say(*words) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def hang() -> None:
    """Wait for the end, which comes from outside."""
    time.sleep(600)


def connected(bare):
    if bare.startswith("sqlite"):
        return sqlite3.connect(bare.removeprefix("sqlite:///"), isolation_level="IMMEDIATE")
    return psycopg.connect(bare)


def guest(url, bare, step) -> None:
    """Publish in a transaction, and stop before or after its commit."""
    line = Trunkline(url)
    connection = connected(bare)
    connection.execute("INSERT INTO note VALUES ('row')")
    line.publish_in(connection, "/a", 1)
    line.publish_in(connection, "/a", 2)
    if step == "after":
        connection.commit()
    say(step)
    hang()


async def own(url, step) -> None:
    """Publish in a transaction of the line's own, and stop before or after its commit."""
    async with Trunkline(url, services="off") as line:
        async with line.transaction() as tx:
            await tx.execute("INSERT INTO note VALUES ('row')")
            await tx.publish("/a", 1)
            await tx.publish("/a", 2)
            if step == "before":
                say(step)
                hang()
        say(step)
        hang()


def guests(url, outbox, bare, who, count) -> None:
    """Publish pairs in transactions, and say each one once it is committed."""
    line = Trunkline(url, outboxes=[outbox] if outbox else [])
    connection = connected(bare)
    for turn in range(int(count)):
        for part in (0, 1):
            line.publish_in(connection, "/a", [int(who), turn, part])
        connection.commit()
        say(turn)
        time.sleep(0.002)


async def worker(url, outbox) -> None:
    """Be a worker."""
    line = Trunkline(url, outboxes=[outbox] if outbox else [], max_backlog_size=None)
    await work_until(line, asyncio.Event(), started=lambda names: say(*names))


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    done = {"guest": guest, "own": own, "guests": guests, "worker": worker}[name](*arguments)
    if done is not None:
        asyncio.run(done)
