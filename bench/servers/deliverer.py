"""One worker's delivery, measured: rows queued straight into the store, sent by a courier."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import time
from collections.abc import Sequence
from typing import Any

import uvloop

from trunkline.runtime.clock import SystemClock
from trunkline.sql.database import Database, Dialect
from trunkline.sql.opening import place_of
from trunkline.store.schema import migrate
from trunkline.webhooks.attempting import Attempting
from trunkline.webhooks.courier import Courier
from trunkline.webhooks.delivery_options import DeliveryOptions
from trunkline.webhooks.delivery_table import DeliveryTable
from trunkline.webhooks.guard import Egress
from trunkline.webhooks.outgoing import Outgoing, Transmission, one_by_one
from trunkline.webhooks.outlet import Outlet
from trunkline.wire.signature import SigningKey

KEYS = (SigningKey("v1", b"k" * 32),)
HEADERS = {"content-type": "application/json"}
CHUNK = 10_000


class Bench:
    """Queue and deliver.

    Args:
        database: Of the store.
        port: Where the receiver listens.
        size: Bytes of a body.
    """

    def __init__(self, database: Database, port: int, size: int) -> None:
        self.database = database
        self.port = port
        self.filler = "x" * max(0, size - 22)
        self.urls: dict[str, str] = {}
        self.courier = self._make_courier()

    def _make_courier(self) -> Courier:
        options = DeliveryOptions(
            egress=Egress(http=True, networks=("127.0.0.0/8",)),
        )
        clock = SystemClock()

        async def notify(_: object) -> None:
            return None

        attempting = Attempting(
            Outlet(options.egress), clock, chance=random.Random(1), keep_bodies=True
        )
        return Courier(
            DeliveryTable(self.database, f"bench:{os.getpid()}"),
            attempting,
            prepare=one_by_one(self.prepare),
            options=options,
            clock=clock,
            notify=notify,
        )

    async def prepare(self, sent: Transmission) -> Outgoing:
        """Make a body that tells since when it is on its way."""
        body = f'"{sent.created_at:020.6f}{self.filler}"'.encode()
        return Outgoing(url=self.urls[sent.endpoint_id], body=body, headers=HEADERS, secrets=KEYS)

    def sql(self, statement: str) -> str:
        """Write a statement in the database's dialect."""
        parts = statement.replace("{p}", self.database.schema).split("?")
        if self.database.dialect is Dialect.SQLITE:
            return "?".join(parts)
        return parts[0] + "".join(f"${n}{part}" for n, part in enumerate(parts[1:], 1))

    async def endpoints(self, count: int, hanging: int) -> list[str]:
        """Make endpoints, the first of which hang."""
        names = [f"ep_{number:05d}" for number in range(count)]
        now = time.time()
        rows: list[Sequence[Any]] = []
        for number, name in enumerate(names):
            path = "hang" if number < hanging else "well"
            self.urls[name] = f"http://127.0.0.1:{self.port}/{path}/{number}"
            rows.append((name, f"tenant_{number}", self.urls[name], "{}", now, now))
        async with self.database.transaction() as tx:
            await tx.execute_many(
                self.sql(
                    "INSERT INTO {p}trunkline_endpoint "
                    "(id, tenant, url, options, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)"
                ),
                rows,
            )
        return names

    async def queue(self, names: Sequence[str], count: int, start: int = 0) -> None:
        """Queue transmissions, by turns for all endpoints."""
        insert = self.sql(
            "INSERT INTO {p}trunkline_transmissions (id, endpoint_id, tenant, account_type, "
            "account_id, signal_name, signal_class, action, object_id, context, due_at, "
            "created_at) VALUES (?, ?, 'account:1', 'account', '1', 'lesson', 'LessonSignal', "
            "'updated', '4', '{}', ?, ?)"
        )
        for first in range(start, start + count, CHUNK):
            now = time.time()
            numbers = range(first, min(first + CHUNK, start + count))
            rows = [
                (f"msg_{number:012d}", names[number % len(names)], now, now) for number in numbers
            ]
            async with self.database.transaction() as tx:
                await tx.execute_many(insert, rows)

    async def left(self) -> int:
        """Return how many are not sent, of those that can be."""
        rows = await self.database.fetch(
            self.sql("SELECT count(*) FROM {p}trunkline_transmissions WHERE state <> 'sent'")
        )
        return int(rows[0][0])


def resident() -> int:
    """Return this process's memory in bytes."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


async def rate(bench: Bench, given: argparse.Namespace) -> dict[str, Any]:
    """Deliver a backlog and tell the rate."""
    names = await bench.endpoints(100, 0)
    await bench.queue(names, given.count)
    async with asyncio.TaskGroup() as group:
        busy, began = time.process_time(), time.perf_counter()
        running = group.create_task(bench.courier.run())
        while bench.courier.tally.states["sent"] < given.count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        bench.courier.stop()
        await running
        elapsed = time.perf_counter() - began
        busy = time.process_time() - busy
    assert await bench.left() == 0
    return {"rate": given.count / elapsed, "busy_us": busy * 1e6 / given.count}


async def arrivals(bench: Bench, given: argparse.Namespace) -> dict[str, Any]:
    """Queue steadily for all endpoints, of which some may hang, and deliver."""
    names = await bench.endpoints(100, given.hanging)
    per_step = max(1, round(given.per_second * 0.02))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(bench.courier.run())
        queued, began = 0, time.perf_counter()
        while (now := time.perf_counter() - began) < given.seconds:
            if queued < given.per_second * now:
                await bench.queue(names, per_step, queued)
                queued += per_step
                bench.courier.poke()
            await asyncio.sleep(0.005)
        await asyncio.sleep(1.0)
        bench.courier.stop()
        running.cancel()
    return {"queued": queued}


async def singles(bench: Bench, given: argparse.Namespace) -> dict[str, Any]:
    """Queue one now and then."""
    names = await bench.endpoints(1, 0)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(bench.courier.run())
        for number in range(given.count):
            await asyncio.sleep(0.05 + random.random() * 0.02)
            await bench.queue(names, 1, number)
            if given.poke:
                bench.courier.poke()
        await asyncio.sleep(0.5)
        bench.courier.stop()
        await running
    return {"queued": given.count}


async def memory(bench: Bench, given: argparse.Namespace) -> dict[str, Any]:
    """Deliver for a while with so many queued, and tell the memory."""
    names = await bench.endpoints(100, 0)
    await bench.queue(names, given.count)
    before = resident()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(bench.courier.run())
        await asyncio.sleep(given.seconds)
        sent, after = bench.courier.tally.states["sent"], resident()
        bench.courier.stop()
        await running
    return {"before": before, "after": after, "sent": sent, "rate": sent / given.seconds}


MODES = {"rate": rate, "arrivals": arrivals, "singles": singles, "memory": memory}


async def run(given: argparse.Namespace) -> None:
    """Measure and tell."""
    database = await place_of(given.store).open()
    try:
        await migrate(database)
        bench = Bench(database, given.port, given.size)
        told = await MODES[given.mode](bench, given)
        await bench.courier.close()
    finally:
        await database.close()
    print(json.dumps(told))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--store", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=200)
    parser.add_argument("--hanging", type=int, default=0)
    parser.add_argument("--per-second", type=float, default=500.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--poke", action="store_true")
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
