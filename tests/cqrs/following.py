"""What the tests of eventual handlers share: a small domain, and patience."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import msgspec

from trunkline.channels.consumer import Retry
from trunkline.cqrs.command import Command, Event

SECONDS = 15.0
#: Tries at once, so that tests needn't wait.
QUICK = Retry(attempts=3, first=0.001, limit=0.001)


class Create(Command, name="create.test"):
    """Ask for a test."""

    test_id: str
    title: str = ""


class Rename(Command, name="rename.test"):
    """Ask for another title."""

    test_id: str
    title: str


class Created(Event, name="test.:test_id.created"):
    """Say that there is a test."""

    test_id: str
    title: str = ""


class Renamed(Event, name="test.:test_id.renamed"):
    """Say that it has another title."""

    test_id: str
    title: str


class Test(msgspec.Struct, frozen=True):
    """Be a test."""

    __test__ = False
    title: str = ""


def with_tests(line: Any) -> Any:
    """Declare the domain of tests on a line."""
    line.aggregate("test", id="test_id")(Test)

    @line.evolve
    def begun(state: Test | None, event: Created | Renamed) -> Test:
        return Test(event.title)

    @line.command(Create)
    def create(cmd: Create, test: Test | None):
        yield Created(cmd.test_id, cmd.title)

    @line.command(Rename)
    def rename(cmd: Rename, test: Test | None):
        yield Renamed(cmd.test_id, cmd.title)

    return line


@contextlib.asynccontextmanager
async def working(line: Any):
    """Open a line and do a worker's work."""
    async with line:
        line.start_services()
        yield line


async def come_true(holds: Any) -> None:
    """Wait until a plain condition holds."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.002)
