"""What the tests of durable consumers share: lines whose consumers run, and patience."""

from __future__ import annotations

import asyncio
import contextlib
import time

from tests.store.databases import SECONDS, notes, until  # noqa: F401 - for the tests
from trunkline.channels.consumer import Retry

#: Tries at once, so that tests needn't wait.
QUICK = Retry(attempts=3, first=0.001, limit=0.001)


@contextlib.asynccontextmanager
async def consuming(line):
    """Open a line and run its consumers."""
    await line.open(run_consumers=True)
    try:
        yield line
    finally:
        await line.close()


async def come_true(holds) -> None:
    """Wait until a plain condition holds."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.002)


async def caught_up(line, name) -> None:
    """Wait until a consumer is done with everything that is not parked."""

    async def is_done() -> bool:
        if name not in {one.name for one in await line.consumers.list()}:
            return False
        return (await line.consumers.lag(name)).messages == 0

    await until(is_done)


async def status_of(line, name, wanted):
    """Wait until a consumer has a status, and return its state."""

    async def is_there() -> bool:
        found = await line.consumers.list()
        return any(one.name == name and one.status == wanted for one in found)

    await until(is_there)
    return await line.consumers.show(name)


def note(ground):
    """Return the statement that writes a note."""
    return f"INSERT INTO note VALUES ({ground.mark})"
