"""nats-py's own acknowledged publishes, many at a time: no ids per channel, no conditions."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from itertools import count

import nats
import uvloop
from nats.js.api import StreamConfig

from bench.servers.control import percentiles, text

CHANNELS = 100
WARM_UP = 0.3


async def publish(given: argparse.Namespace) -> None:
    """Publish for some seconds and tell the rate."""
    client = await nats.connect(given.url.removeprefix("nats://").split(","))
    stream = client.jetstream(publish_async_max_pending=4000)
    await stream.add_stream(
        StreamConfig(name="bench", subjects=["bench.>"], num_replicas=given.replicas)
    )
    numbers = count()

    async def publisher(until: float, times: list[float]) -> None:
        while (before := time.perf_counter()) < until:
            subject = f"bench.{next(numbers) % CHANNELS:03d}"
            await stream.publish(subject, text().encode())
            times.append(time.perf_counter() - before)

    async def all_of_them(seconds: float, times: list[float]) -> float:
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(given.publishers):
                group.create_task(publisher(began + seconds, times))
        return time.perf_counter() - began

    times: list[float] = []
    await all_of_them(WARM_UP, [])
    busy = time.process_time()
    seconds = await all_of_them(given.seconds, times)
    busy = (time.process_time() - busy) * 1e6 / len(times)
    print(json.dumps({"rate": len(times) / seconds, "busy_us": busy, "ms": percentiles(times)}))
    await client.close()


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--publishers", type=int, default=64)
    parser.add_argument("--replicas", type=int, default=1)
    uvloop.run(publish(parser.parse_args()))


if __name__ == "__main__":
    main()
