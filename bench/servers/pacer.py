"""A process that publishes now and then, from a connection that is otherwise idle."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time

import uvloop

from bench.servers.control import percentiles, text
from bench.servers.listener import CHANNEL
from trunkline import Trunkline


async def publish(given: argparse.Namespace) -> None:
    """Publish at a mean rate, at moments that nobody can adapt to."""
    times: list[float] = []
    chance = random.Random(7)
    async with Trunkline(given.log, services="off") as line:
        until = time.perf_counter() + given.seconds
        while time.perf_counter() < until:
            await asyncio.sleep(chance.uniform(0.5, 1.5) / given.rate)
            before = time.perf_counter()
            await line.publish(CHANNEL, text())
            times.append(time.perf_counter() - before)
    print(json.dumps(percentiles(times)))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", required=True, help="the line's URL")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rate", type=float, default=50.0, help="messages a second")
    uvloop.run(publish(parser.parse_args()))


if __name__ == "__main__":
    main()
