"""A line with every kind of handler, where each may fail; run by itself it dies at one of them."""

from __future__ import annotations

import asyncio
import sys

from tests.cqrs.saga_town import Record
from trunkline import Trunkline
from trunkline.cqrs.command import Command, Event
from trunkline.testing.commands import FaultPoints

#: In the order in which a command comes by them.
EARLY = ("early",)
LATE = ("late", "move", "note", "derive", "note_derived", "follow", "tidy_early", "tidy")
INNER = ("note_tidied",)
POINTS = (*EARLY, *LATE, *INNER)
TAKES_TX = ("move", "note", "note_derived", "tidy", "note_tidied")


class Move(Command, name="move.house"):
    house: str


class Moved(Event, name="house.:house.moved"):
    house: str


class Derived(Event, name="house.:house.derived"):
    house: str


class Tidy(Command, name="tidy.house"):
    house: str


class Tidied(Event, name="house.:house.tidied"):
    house: str


def town(line: Trunkline, record: Record, *, sql_error: str = "") -> Trunkline:
    async def write(tx, name):
        await tx.execute(f"INSERT INTO note VALUES ('{name}')")
        if name == sql_error:
            await tx.execute("INSERT INTO no_such_table VALUES (1)")

    _outside(line, record)
    _inside(line, write)
    _nested(line, write)

    @line.projector("house.:house.*", consistency="eventual")
    async def later(event, tx):
        await tx.execute(f"INSERT INTO note VALUES ('later {type(event).__name__}')")

    return line


def _outside(line, record) -> None:
    @line.before("move.house")
    async def early(command):
        """Look."""

    @line.after("move.house")
    async def late(command):
        """Look."""

    for name in ("a", "b"):

        def undo(command, key, name=name):
            record.add("undid", name, key)

        def call(command, key, name=name):
            record.add("did", name, key)

        line.undo(f"un{name}")(undo)
        line.step(Move, name=name, undo=f"un{name}")(call)


def _inside(line, write) -> None:
    @line.command(Move)
    async def move(command, tx):
        await write(tx, "move")
        yield Moved(command.house)

    @line.projector(Moved)
    async def note(event: Moved, tx):
        await write(tx, "note")

    @line.dispatcher(Moved)
    def derive(event: Moved):
        yield Derived(event.house)

    @line.projector(Derived)
    async def note_derived(event: Derived, tx):
        await write(tx, "note_derived")

    @line.processor(Moved)
    async def follow(event: Moved):
        return [Tidy(event.house)]


def _nested(line, write) -> None:
    @line.before("tidy.house")
    async def tidy_early(command):
        """Look."""

    @line.command(Tidy)
    async def tidy(command, tx):
        await write(tx, "tidy")
        yield Tidied(command.house)

    @line.projector(Tidied)
    async def note_tidied(event: Tidied, tx):
        await write(tx, "note_tidied")


async def main(url: str, path: str, handler: str, when: str) -> None:
    line = town(Trunkline(url), Record(path))
    async with line:
        FaultPoints(line).die(f"main.{handler}", after=when == "after")
        line.start_services()
        await line.send(Move("h"), key="k")
        await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
