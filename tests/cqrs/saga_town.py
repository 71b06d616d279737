"""A line whose commands call three others, each of whom writes down what it was told.

Run as ``python -m tests.cqrs.saga_town URL RECORD POINT WHAT`` it sends one command, and kills
itself with signal 9 when it comes to a point.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
from pathlib import Path

from trunkline import Trunkline
from trunkline.cqrs.command import Command, Event
from trunkline.cqrs.command_steps import CommandSteps
from trunkline.cqrs.errors import Refused
from trunkline.cqrs.undoing import Undoing

NAMES = ("a", "b", "c")


class Move(Command, name="move.house"):
    house: str
    wish: str = "fine"  # fine, or where it shall fail


class Moved(Event, name="house.:house.moved"):
    house: str


class Record:
    """What the others were told, in order, over all processes."""

    def __init__(self, path) -> None:
        self.path = Path(path)

    def add(self, what: str, name: str, key: str) -> None:
        line = json.dumps([what, name, key]) + "\n"
        with self.path.open("a") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def all(self) -> list[tuple[str, str, str]]:
        if not self.path.exists():
            return []
        return [tuple(json.loads(line)) for line in self.path.read_text().splitlines()]

    def effects(self) -> list[tuple[str, str]]:
        """Return what took effect: whoever is called twice under one key does it once."""
        found = {}
        for what, name, key in self.all():
            found.setdefault((what, key), (what, name))
        return list(found.values())


def die_at(point: str, wanted: str) -> None:
    if point == wanted:
        os.kill(os.getpid(), signal.SIGKILL)


def town(line: Trunkline, record: Record, *, point: str = "", fails: dict | None = None):
    """Declare the commands, steps and handlers."""
    for name in NAMES:
        _step(line, record, name, point=point, fails={} if fails is None else fails)
    _hooks(line)
    _handlers(line, point)
    return line


def _step(line, record, name, *, point, fails) -> None:
    @line.undo(f"un{name}")
    async def undo(command, step):
        if fails.get(f"un{name}", 0):
            fails[f"un{name}"] -= 1
            raise ConnectionError(f"{name} cannot be reached")
        record.add("undid", name, step.key)
        die_at(f"undo called {name}", point)

    @line.step(Move, name=name, undo=f"un{name}")
    async def call(command, key):
        die_at(f"before {name}", point)
        if command.wish == f"refuse {name}":
            raise Refused(f"{name} refuses")
        record.add("did", name, key)
        die_at(f"called {name}", point)
        if command.wish == f"fail {name}":
            raise ConnectionError(f"{name} was cut off")
        return {"by": name}


def _hooks(line) -> None:
    @line.before("move.house")
    async def early(command):
        if command.wish == "before":
            raise Refused("before")

    @line.after("move.house")
    async def late(command):
        if command.wish == "after":
            raise ValueError("after")


def _handlers(line, point) -> None:
    @line.command(Move)
    async def move(command):
        die_at("decide", point)
        if command.wish == "decide":
            raise Refused("decide")
        yield Moved(command.house)

    @line.projector("house.:house.moved")
    async def note(event: Moved, tx):
        await tx.execute(f"INSERT INTO note VALUES ('{event.house}')")
        die_at("projector", point)
        if point == "project":
            raise ValueError("project")
        if point == "sql":
            await tx.execute("INSERT INTO no_such_table VALUES (1)")


def dying(point: str):
    """Return what wraps writes, so that the process dies after the n-th of them."""
    numbers = itertools.count(1)

    def wrapped(method):
        async def write(*given):
            found = await method(*given)
            die_at(f"write {next(numbers)}", point)
            return found

        return write

    return wrapped


def die_at_writes(point: str) -> None:
    """Die after the n-th write about a saga is committed."""
    wrapped = dying(point)
    Undoing.write = wrapped(Undoing.write)
    CommandSteps._put_on_record = wrapped(CommandSteps._put_on_record)
    settled = CommandSteps.settled

    async def settle(*given):
        await settled(*given)
        die_at("settled", point)

    CommandSteps.settled = settle


async def main(url: str, record: str, point: str, wish: str) -> None:
    die_at_writes(point)
    line = town(Trunkline(url), Record(record), point=point)
    async with line:
        try:
            await line.send(Move("h", wish), key="k")
        finally:
            die_at("returned", point)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
