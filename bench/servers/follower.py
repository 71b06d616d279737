"""What follows from commands: routing, a rebuild, and an eventual handler, each by itself."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from typing import Any

import uvloop

from trunkline import Trunkline
from trunkline.cqrs.command import Command, Event
from trunkline.cqrs.router import Router

PATTERNS = 1000
NAMES = 100_000
STREAM = 500


class Fill(Command, name="fill.tests"):
    """Ask for many events."""

    stream: int
    count: int


class Ping(Command, name="ping.test"):
    """Ask for one event."""

    number: int


class Filled(Event, name="test.:number.filled"):
    """Be one of many."""

    number: int
    title: str = "a title of some length, as titles are"


class Pinged(Event, name="test.:number.pinged"):
    """Be the one."""

    number: int


def routing() -> dict[str, Any]:
    """Return microseconds per event: names that never came before, and names that did."""
    router: Router[object] = Router()
    for number in range(PATTERNS // 4):
        router.add(f"thing{number}.:id.created", object())
        router.add(f"thing{number}.:id.*", object())
        router.add(f"thing{number}.**", object())
        router.add(f"*.:id.verb{number}", object())
    chance = random.Random(7)
    names = [
        f"thing{chance.randrange(PATTERNS // 4)}.{chance.getrandbits(64):x}.created"
        for _ in range(NAMES)
    ]
    told = {}
    for label, every in (("new", names), ("known", names[:500] * (NAMES // 500))):
        began = time.perf_counter()
        for name in every:
            router.match(name)
        told[label] = (time.perf_counter() - began) / len(every) * 1e6
    return told


def declared(log: str) -> Trunkline:
    """Return a line with the small domain."""
    line = Trunkline(log, services="off")
    line.event(Filled, Pinged)

    @line.command(Fill)
    def fill(cmd: Fill):
        for number in range(cmd.count):
            yield Filled(cmd.stream * cmd.count + number)

    @line.command(Ping)
    def ping(cmd: Ping):
        yield Pinged(cmd.number)

    return line


async def rebuild(log: str, events: int) -> dict[str, Any]:
    """Return events per second of a rebuild, from its call to the exchange of tables."""
    line = declared(log)
    mark = "?" if log.startswith("sqlite") else "$1"

    @line.projector(
        "test.:number.filled",
        consistency="eventual",
        tables={"seen": "CREATE TABLE {seen} (number bigint PRIMARY KEY)"},
    )
    async def seen(event: Filled, tx):
        await tx.write(f"INSERT INTO {{seen}} VALUES ({mark})", event.number)

    async with line:
        for stream in range(events // STREAM):
            await line.send(Fill(stream, STREAM))
        began = time.perf_counter()
        done = await line.projections.rebuild(seen)
        took = time.perf_counter() - began
    assert done.events == events // STREAM * STREAM
    return {"rate": done.events / took}


async def follow(log: str) -> dict[str, Any]:
    """Note when each event's effect is committed, until the input ends."""
    line = declared(log)
    seen: dict[int, float] = {}

    @line.projector("test.:number.pinged", consistency="eventual")
    async def take(event: Pinged, tx):
        async def note() -> None:
            seen[event.number] = time.monotonic()

        tx.after_commit(note)

    async with line:
        line.start_services()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
    return {str(number): at for number, at in seen.items()}


async def ping(log: str, count: int, *, alone: bool) -> dict[str, Any]:
    """Send now and then; return when each was committed, and if alone when it took effect."""
    line = declared(log)
    sent: dict[int, float] = {}
    seen: dict[int, float] = {}

    if not alone:

        @line.projector("test.:number.pinged", consistency="eventual")
        async def take(event: Pinged, tx):
            async def note() -> None:
                seen[event.number] = time.monotonic()

            tx.after_commit(note)

    async with line:
        if not alone:
            line.start_services()
        await asyncio.sleep(1.0)
        for number in range(count):
            await line.send(Ping(number))
            sent[number] = time.monotonic()
            await asyncio.sleep(0.03)
        await asyncio.sleep(0.3)
    return {
        "sent": {str(n): at for n, at in sent.items()},
        "seen": {str(n): at for n, at in seen.items()},
    }


def main() -> None:
    """Measure what the command line asks for, and print one line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--what", choices=["routing", "rebuild", "follow", "ping", "both"])
    parser.add_argument("--log", default="")
    parser.add_argument("--events", type=int, default=1000)
    given = parser.parse_args()
    told: Any
    if given.what == "routing":
        told = routing()
    elif given.what == "rebuild":
        told = uvloop.run(rebuild(given.log, given.events))
    elif given.what == "follow":
        told = uvloop.run(follow(given.log))
    else:
        told = uvloop.run(ping(given.log, given.events, alone=given.what == "ping"))
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
