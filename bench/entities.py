"""Entities: how soon a change is on the socket, what watching costs, and how much is fetched."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil

from bench.figures import Figure, Plan
from bench.machine import cores
from bench.processes import clean_environment
from bench.programs import folder
from bench.servers.control import percentiles
from trunkline.testing.postgres_server import PostgresServer
from trunkline.testing.servers import Server, trunkline_serve

ROOT = Path(__file__).resolve().parent.parent
HEAD = (
    "GET /ws?user={user} HTTP/1.1\r\nhost: bench\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
ROW = re.compile(rb'"rows":\[\{[^{]*?"value":(.*?)\}\]\}')


class Watcher(asyncio.Protocol):
    """Watch some entities over a WebSocket, and hand on what is shown."""

    def __init__(self, user: int, entities: list[dict[str, str]], show: Any) -> None:
        self.request = json.dumps({"id": 1, "type": "watch", "entities": entities}).encode()
        self.user = user
        self.show = show
        self.seen = b""
        self.states = 0
        self.last = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(HEAD.format(user=self.user).encode())

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        self.seen += data
        if self.request and b"\r\n\r\n" in self.seen and self.transport is not None:
            self.transport.write(masked(self.request))
            self.request = b""
        for found in ROW.finditer(self.seen):
            self.states += 1
            self.last = found[1]
            self.show(now, found[1])
        if not self.request:
            self.seen = self.seen[self.seen.rfind(b"]}") + 2 :] if b"]}" in self.seen else self.seen


def masked(payload: bytes) -> bytes:
    """Write a client's frame, masked with zeros."""
    size = len(payload)
    head = bytes([0x81, 0x80 | size]) if size < 126 else bytes([0x81, 0xFE]) + size.to_bytes(2)
    return head + bytes(4) + payload


@contextlib.asynccontextmanager
async def running(log: str) -> AsyncIterator[Server]:
    """Serve the entities from a log."""
    environment = {"TRUNKLINE_LOG": log, "TRUNKLINE_MAX_CONNECTIONS": "20000"}
    server = trunkline_serve("bench.servers.entities:app", directory=ROOT, environment=environment)
    async with server:
        psutil.Process(server.pid).cpu_affinity(list(cores()[0]))
        yield server


async def watchers(
    server: Server, count: int, entities: Any, show: Any = lambda *_: None
) -> list[Watcher]:
    """Connect so many watchers and wait until each is shown what it asked for."""
    loop = asyncio.get_running_loop()
    made = []
    for user in range(count):
        named = entities(user)
        _, one = await loop.create_connection(
            lambda user=user, named=named: Watcher(user, named, show), "127.0.0.1", server.port
        )
        made.append(one)
    async with asyncio.timeout(120):
        while any(one.states < 1 for one in made):  # noqa: ASYNC110 - many are waited for
            await asyncio.sleep(0.05)
    return made


async def ask(server: Server, path: str) -> Any:
    """Send a command and return the fetches so far."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n".encode())
    body = (await reader.read()).partition(b"\r\n\r\n")[2]
    writer.close()
    return json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])


def measure(plan: Plan) -> Iterator[Figure]:
    """Measure the rows."""
    yield from latencies(plan)
    yield idle(plan)
    yield from fetches(plan)


def latencies(plan: Plan) -> Iterator[Figure]:
    """Measure from a change's commit to its push, on both databases."""
    told: dict[str, list[dict[str, float]]] = {"SQLite": [], "PostgreSQL": []}
    with PostgresServer() as postgres:
        for run in range(plan.runs):
            with folder() as path:
                told["SQLite"].append(asyncio.run(latency(f"sqlite:///{path}/line.db", plan)))
            mark = "&" if "?" in postgres.url else "?"
            url = f"{postgres.url}{mark}schema=bench{run}"
            told["PostgreSQL"].append(asyncio.run(latency(url, plan)))
    for engine, runs in told.items():
        for percentile, limit in (("p50", 10.0), ("p99", 30.0)):
            yield Figure(
                row="entities",
                name=f"commit of a change to its push, idle, {engine}, {percentile}",
                unit="ms",
                runs=[one[percentile] for one in runs],
                target=f"≤ {limit:g} ms",
                at_most=limit,
                note="the commit itself and the fetch from the same database are in it",
            )


async def latency(log: str, plan: Plan) -> dict[str, float]:
    """Change an entity fifty times a second and time each push."""
    late: list[float] = []

    def show(now: int, value: bytes) -> None:
        if value.isdigit() and int(value):
            late.append((now - int(value)) / 1e9)

    async with running(log) as server:
        await watchers(server, 1, lambda _: [{"entity": "kept", "id": "1"}], show)
        count = plan.rounds(500)
        await ask(server, f"/change?entity=kept&count={count}&seconds={count / 50}")
        await asyncio.sleep(0.5)
    if len(late) < count * 0.9:
        raise RuntimeError(f"only {len(late)} of {count} changes were pushed")
    return percentiles(late[count // 10 :])


def idle(plan: Plan) -> Figure:
    """Measure what watching costs while nothing changes."""
    runs = []
    for _ in range(plan.runs):
        with folder() as path:
            runs.append(asyncio.run(idling(f"sqlite:///{path}/line.db", plan)))
    return Figure(
        row="entities",
        name="10,000 entities watched on 2,000 connections, nothing changing",
        unit="% of a core",
        runs=runs,
        target="< 5 %",
        at_most=5.0,
        note="heartbeats of 15 s included",
    )


async def idling(log: str, plan: Plan) -> float:
    """Hold the connections and return the processor time per second, as a percentage."""

    def entities(user: int) -> list[dict[str, str]]:
        return [{"entity": "shared", "id": str(user * 5 + one)} for one in range(5)]

    async with running(log) as server:
        loop = asyncio.get_running_loop()
        made = []
        for user in range(2000):
            _, one = await loop.create_connection(
                lambda user=user: Watcher(user, entities(user), lambda *_: None),
                "127.0.0.1",
                server.port,
            )
            made.append(one)
        async with asyncio.timeout(60):
            while (await ask(server, "/calls"))["shared"] < 10_000:  # noqa: ASYNC110 - asked
                await asyncio.sleep(0.2)
        process = psutil.Process(server.pid)
        await asyncio.sleep(1.0)
        seconds = max(10.0, plan.seconds(30))
        before, began = process.cpu_times(), time.monotonic()
        await asyncio.sleep(seconds)
        after, ended = process.cpu_times(), time.monotonic()
        used = after.user + after.system - before.user - before.system
        return 100 * used / (ended - began)


def fetches(plan: Plan) -> Iterator[Figure]:
    """Count the fetches of a thousand watchers, of one scope and of as many."""
    shared, own = [], []
    for _ in range(plan.runs):
        with folder() as path:
            told = asyncio.run(crowd(f"sqlite:///{path}/line.db"))
        shared.append(told["shared"])
        own.append(told["own"])
    yield Figure(
        row="entities",
        name="1,000 clients of one scope, 100 changes in a second: fetches",
        unit="fetches",
        runs=shared,
        target="≤ 100, every client at the last",
        at_most=100,
        note="every client ended at the last version, or the run would have failed",
    )
    yield Figure(
        row="entities",
        name="1,000 clients of 1,000 scopes, one change: calls of the batch fetch",
        unit="calls",
        runs=own,
        target="≤ 20",
        at_most=20,
        note="every client ended at the change",
    )


async def crowd(log: str) -> dict[str, float]:
    """Have a thousand clients watch one entity."""
    told: dict[str, float] = {}
    for entity, count, seconds in (("shared", 100, 1), ("own", 1, 0)):
        async with running(log) as server:
            made = await settled(server, entity)
            before = (await ask(server, "/calls"))[entity]
            await ask(server, f"/change?entity={entity}&count={count}&seconds={seconds}")
            async with asyncio.timeout(30):
                last = b'"number":%d,"last":true' % (count - 1)
                while not all(last in one.last for one in made):  # noqa: ASYNC110 - many
                    await asyncio.sleep(0.05)
            told[entity] = (await ask(server, "/calls"))[entity] - before
    return told


async def settled(server: Server, entity: str) -> list[Watcher]:
    """Connect a thousand watchers of an entity that is there."""
    await ask(server, f"/change?entity={entity}&count=2")
    return await watchers(server, 1000, lambda _: [{"entity": entity, "id": "1"}])


def main() -> None:
    """Measure these rows alone, briefly."""
    clean_environment()
    for figure in measure(Plan(runs=1, effort=0.2)):
        print(f"{figure.name}: {figure.value:.2f} {figure.unit}, {figure.target}")


if __name__ == "__main__":
    main()
