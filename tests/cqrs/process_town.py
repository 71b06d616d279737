"""A process manager with a timer and a deadline, whose commands write down that they ran.

Run as ``python -m tests.cqrs.process_town URL POINT`` it begins one instance, works, and kills
itself with signal 9 when it comes to a point.
"""

from __future__ import annotations

import asyncio
import functools
import sys

import msgspec

from tests.cqrs.saga_town import die_at
from trunkline import Trunkline
from trunkline.cqrs.command import Command, Event
from trunkline.cqrs.process_runner import ProcessRunner
from trunkline.cqrs.wing import Commands
from trunkline.store.process_table import ProcessTable

#: Seconds until the reminder, and until it is too late.
REMINDER, DEADLINE = 0.05, 0.1


class Order(Command, name="order.tea"):
    tea: str


class Ordered(Event, name="tea.:tea.ordered"):
    tea: str


class Tell(Command, name="tell.tea"):
    tea: str
    what: str


class Told(Event, name="tea.:tea.told"):
    tea: str
    what: str


class Brewing(msgspec.Struct, frozen=True):
    tea: str
    reminders: int = 0


def town(line: Trunkline, *, point: str = "") -> Trunkline:
    """Declare it all on a line."""
    line.event(Told)

    @line.command(Order)
    def order(command):
        yield Ordered(command.tea)

    @line.command(Tell)
    async def tell(command, tx):
        await tx.execute(f"INSERT INTO note VALUES ('{command.what}')")
        die_at(f"tell {command.what}", point)
        yield Told(command.tea, command.what)

    _brewing(line, point)
    return line


def _brewing(line, point) -> None:
    brewing = line.process("brewing", Brewing, correlate="tea", deadline=DEADLINE)

    @brewing.starts(Ordered)
    def begin(event, move):
        die_at("react begun", point)
        move.send(Tell(event.tea, "begun"))
        move.timer("reminder", REMINDER, {"of": event.tea})
        return Brewing(event.tea)

    @brewing.timer("reminder")
    def remind(state, move):
        die_at("react reminded", point)
        move.send(Tell(move.data["of"], "reminded"))
        return Brewing(state.tea, state.reminders + 1)

    @brewing.timer("deadline")
    def late(state, move):
        die_at("react late", point)
        move.send(Tell(state.tea, "late"))
        move.end()


def die_after(point: str) -> None:
    """Die after the n-th of the moves between which a process can be killed."""

    def counted(owner, name, word, *, matters=lambda found: True):
        method, counts = getattr(owner, name), {word: 0}

        @functools.wraps(method)
        async def call(*given, **named):
            found = await method(*given, **named)
            if matters(found):
                counts[word] += 1
                die_at(f"{word} {counts[word]}", point)
            return found

        setattr(owner, name, call)

    counted(ProcessTable, "save", "saved")
    counted(ProcessTable, "set_timer", "set")
    counted(ProcessTable, "take_timer", "taken", matters=bool)
    counted(ProcessTable, "due_timers", "due", matters=bool)
    counted(ProcessRunner, "hear", "heard")
    counted(ProcessRunner, "_go_off", "went off", matters=bool)
    counted(Commands, "enqueue", "enqueued")


async def main(url: str, point: str) -> None:
    die_after(point)
    async with town(Trunkline(url), point=point) as line:
        line.start_services()
        await line.send(Order("green"), key="k")
        await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
