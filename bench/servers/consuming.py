"""A process that fills a line and then lets a durable consumer handle it all."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import Any

import uvloop

from bench.servers.control import text
from trunkline import Trunkline

PAGE = 500
CHANNELS = 100


async def consume(given: argparse.Namespace) -> None:
    """Publish, then handle, and tell the rate of handling."""
    line = Trunkline(given.log, max_backlog_size=1_000_000)
    async with line:
        for first in range(0, given.messages, PAGE):
            await line.publish_many(
                (f"/bench/{number % CHANNELS:03d}", text()) for number in range(first, first + PAGE)
            )
    line = Trunkline(given.log, max_backlog_size=1_000_000)
    handled = 0
    done = asyncio.Event()

    def count(number: int) -> None:
        nonlocal handled
        handled += number
        if handled >= given.messages:
            done.set()

    if given.by == "lists":

        @line.consumer("bench", "/bench/*", batch=PAGE)
        async def handle_many(messages: Any, tx: Any) -> None:  # noqa: ARG001 - the names choose the kind
            count(len(messages))

    else:

        @line.consumer("bench", "/bench/*")
        async def handle(message: Any, tx: Any) -> None:  # noqa: ARG001 - the names choose the kind
            count(1)

    await line.open()
    began = time.perf_counter()
    await line.open(run_consumers=True)
    await done.wait()
    await line.consumers.caught_up("bench")
    seconds = time.perf_counter() - began
    await line.close()
    print(json.dumps({"rate": given.messages / seconds}))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", required=True, help="the line's URL")
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--by", choices=("one", "lists"), default="lists")
    uvloop.run(consume(parser.parse_args()))


if __name__ == "__main__":
    main()
