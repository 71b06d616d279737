"""The bare HTTP client: aiohttp posting the same bodies to the same receiver, and nothing else."""

from __future__ import annotations

import argparse
import asyncio
import json
import time

import aiohttp
import uvloop

ENDPOINTS = 100


async def post(given: argparse.Namespace) -> None:
    """Post as fast as it can and tell the rate."""
    body, numbers = b"x" * given.size, iter(range(given.count))
    connector = aiohttp.TCPConnector(limit=0)

    async with aiohttp.ClientSession(connector=connector) as session:

        async def one() -> None:
            for number in numbers:
                url = f"http://127.0.0.1:{given.port}/{number % ENDPOINTS}"
                async with session.post(url, data=body) as response:
                    await response.read()

        busy, began = time.process_time(), time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(given.tasks):
                group.create_task(one())
        elapsed = time.perf_counter() - began
        busy = time.process_time() - busy
    print(json.dumps({"rate": given.count / elapsed, "busy_us": busy * 1e6 / given.count}))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--size", type=int, default=200)
    uvloop.run(post(parser.parse_args()))


if __name__ == "__main__":
    main()
