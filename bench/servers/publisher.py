"""A process that publishes to a line as fast as it can, each publisher waiting for its receipt."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from array import array
from itertools import count
from pathlib import Path

import uvloop

from bench.servers.control import percentiles, text
from trunkline import Trunkline

CHANNELS = 100
WARM_UP = 0.3


class Crowd:
    """Publish from many tasks at once.

    Args:
        line: Where.
        channels: Over how many channels.
        publishers: How many tasks.
    """

    def __init__(self, line: Trunkline, *, channels: int, publishers: int) -> None:
        self._line = line
        self._channels = channels
        self._publishers = publishers
        self._numbers = count()
        self.stored: list[int] = []
        self.began: list[float] = []

    async def publish(self, seconds: float, times: list[float]) -> float:
        """Publish for some seconds, note how long each publish took, and return the time spent."""
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(self._publishers):
                group.create_task(self._one(began + seconds, times))
        return time.perf_counter() - began

    async def _one(self, until: float, times: list[float]) -> None:
        channels, line, stored, began = self._channels, self._line, self.stored, self.began
        while (before := time.perf_counter()) < until:
            name = f"/bench/{next(self._numbers) % channels:03d}"
            receipt = await line.publish(name, text())
            times.append(time.perf_counter() - before)
            began.append(before)
            if receipt is not None:
                stored.append(receipt.global_id)


async def publish(given: argparse.Namespace) -> None:
    """Publish for some seconds and tell the rate and how long publishes took."""
    times: list[float] = []
    # The peer deletes nothing, so what is measured must not be trimming either.
    async with Trunkline(given.log, max_backlog_size=1_000_000, services="off") as line:
        crowd = Crowd(line, channels=given.channels, publishers=given.publishers)
        await crowd.publish(WARM_UP, [])
        if given.at:
            await asyncio.sleep(max(0.0, given.at - time.time()))
        crowd.stored.clear()
        crowd.began.clear()
        busy = time.process_time()
        seconds = await crowd.publish(given.seconds, times)
        busy = time.process_time() - busy
        dense = await is_dense(line, given.channels)
    told = {
        "rate": len(times) / seconds,
        "busy_us": busy * 1e6 / len(times),
        "ms": percentiles(times),
        "dense": dense and len(set(crowd.stored)) == len(times),
    }
    if given.times:
        with given.times.open("wb") as file:
            array("d", crowd.began).tofile(file)
            array("d", times).tofile(file)
    print(json.dumps(told))


async def is_dense(line: Trunkline, channels: int) -> bool:
    """Tell whether the ids of the newest messages of a few channels have no hole."""
    for number in range(min(3, channels)):
        name = f"/bench/{number:03d}"
        last = await line.last_id(name)
        kept = await line.backlog(name, max(0, last - 500), limit=500)
        ids = [one.message_id for one in kept]
        if ids != list(range(max(0, last - 500) + 1, max(0, last - 500) + 1 + len(ids))):
            return False
    return True


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", required=True, help="the line's URL")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--publishers", type=int, default=1)
    parser.add_argument("--channels", type=int, default=CHANNELS)
    parser.add_argument("--times", type=Path, help="where to write when each began and how long")
    parser.add_argument("--at", type=float, default=0.0, help="when to begin, Unix seconds")
    uvloop.run(publish(parser.parse_args()))


if __name__ == "__main__":
    main()
