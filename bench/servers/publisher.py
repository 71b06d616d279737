"""A process that publishes to a line as fast as it can, each publisher waiting for its receipt."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from itertools import count

import uvloop

from bench.servers.control import percentiles, text
from trunkline import Trunkline

CHANNELS = 100
WARM_UP = 0.3


async def publish(given: argparse.Namespace) -> None:
    """Publish for some seconds and tell the rate and how long publishes took."""
    # The peer deletes nothing, so what is measured must not be trimming either.
    async with Trunkline(f"sqlite:///{given.file}", max_backlog_size=1_000_000) as line:
        numbers = count()
        times: list[float] = []

        async def publisher(until: float, times: list[float]) -> None:
            while (before := time.perf_counter()) < until:
                await line.publish(f"/bench/{next(numbers) % CHANNELS:03d}", text())
                times.append(time.perf_counter() - before)

        async def all_of_them(seconds: float, times: list[float]) -> float:
            began = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for _ in range(given.publishers):
                    group.create_task(publisher(began + seconds, times))
            return time.perf_counter() - began

        await all_of_them(WARM_UP, [])
        if given.at:
            await asyncio.sleep(max(0.0, given.at - time.time()))
        busy = time.process_time()
        seconds = await all_of_them(given.seconds, times)
        busy = time.process_time() - busy
    each = busy * 1e6 / len(times)
    print(json.dumps({"rate": len(times) / seconds, "busy_us": each, "ms": percentiles(times)}))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--file", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--publishers", type=int, default=1)
    parser.add_argument("--at", type=float, default=0.0, help="when to begin, Unix seconds")
    uvloop.run(publish(parser.parse_args()))


if __name__ == "__main__":
    main()
