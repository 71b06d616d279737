"""A process that listens to a channel, or works for a line, and tells how late messages came.

It says a line when it hears, and its figures when its input ends.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time

import uvloop

from bench.servers.control import percentiles
from trunkline import Trunkline

CHANNEL = "/bench/wake"


async def listen(given: argparse.Namespace) -> None:
    """Listen until the input ends."""
    late: list[float] = []
    line = Trunkline(given.log, services="on" if given.works else "off")
    for outbox in given.outbox:
        line.attach_outbox(outbox)
    async with line:

        def hear(message: object) -> None:
            now = time.monotonic_ns()
            sent = int(message.data.split(" ", 1)[0][2:])  # type: ignore[attr-defined]
            late.append((now - sent) / 1e9)

        listener = await line.subscribe(CHANNEL, hear)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await asyncio.sleep(0.2)
        listener.close()
    print(json.dumps(percentiles(late)))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", required=True, help="the line's URL")
    parser.add_argument("--works", action="store_true", help="whether it relays, as a worker does")
    parser.add_argument("--outbox", action="append", default=[], help="a guest's database")
    uvloop.run(listen(parser.parse_args()))


if __name__ == "__main__":
    main()
