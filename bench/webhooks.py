"""Webhooks: deliveries per second, healthy endpoints beside hanging ones, latency and memory.

One worker process delivers to a receiver on loopback; what is delivered is signed, and every
attempt is recorded. The bare client is aiohttp posting the same bodies to the same receiver.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator

from bench import engines
from bench.figures import Figure, Plan
from bench.processes import BenchError, read_line
from bench.programs import Told, finish, run, start

STORES = ("sqlite", "postgres")
ENDPOINTS = 100
HANGING = 10
PER_SECOND = 300.0
MANY = 1_000_000
FEW = 10_000


def measure(plan: Plan) -> Iterator[Figure]:
    """Measure every row on SQLite and on PostgreSQL."""
    for store in STORES:
        yield from rates(store, plan)
    for store in STORES:
        yield from hanging(store, plan)
    for store in STORES:
        yield from latency(store, plan)
    for store in STORES:
        yield from memory(store, plan)


@contextlib.contextmanager
def receiver() -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Run the receiver, and give its port and its process."""
    process = start("bench.servers.hooked")
    assert process.stdout is not None
    try:
        yield int(read_line(process.stdout.fileno(), 20.0, "the receiver")["port"]), process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def deliver(mode: str, store: str, *words: object, seconds: float) -> tuple[Told, Told]:
    """Run the worker against a fresh store, and return what it and the receiver tell."""
    with engines.line(store) as url, receiver() as (port, process):
        told = run(
            "bench.servers.deliverer", mode, "--store", url, "--port", port, *words, seconds=seconds
        )
        return told, finish(process)


def rates(store: str, plan: Plan) -> Iterator[Figure]:
    """Measure deliveries per second, by turns with the bare client."""
    ours: list[float] = []
    bare: list[float] = []
    busy: list[float] = []
    count = plan.rounds(20_000)
    for _ in range(plan.runs):
        with receiver() as (port, process):
            bare.append(
                run("bench.peers.bare_client", "--port", port, "--count", count, seconds=30)["rate"]
            )
            finish(process)
        told, seen = deliver("rate", store, "--count", count, seconds=60)
        if seen["count"] != count:
            raise BenchError(f"{seen['count']} requests came of {count}")
        ours.append(told["rate"])
        busy.append(told["busy_us"])
    name = f"deliveries, signed and recorded, {ENDPOINTS} endpoints, {store}"
    yield Figure(
        row="webhooks",
        name=name,
        unit="/s",
        runs=ours,
        target="≥ 3,000/s",
        at_least=3000.0,
        note=f"processor time of a delivery {sorted(busy)[len(busy) // 2]:.0f} µs",
    )
    yield Figure(
        row="webhooks",
        name=f"{name}, beside the bare client",
        unit="/s",
        runs=ours,
        peer="aiohttp, nothing signed or recorded",
        peer_runs=bare,
        target="≥ 0.3×",
        is_ratio=True,
        at_least=0.3,
    )


def hanging(store: str, plan: Plan) -> Iterator[Figure]:
    """Measure the healthy endpoints' p99 with a tenth of the endpoints hanging, and without."""
    seconds = plan.seconds(20)
    words = ("--per-second", PER_SECOND, "--seconds", seconds)
    without: list[float] = []
    beside: list[float] = []
    for _ in range(plan.runs):
        without.append(deliver("arrivals", store, *words, seconds=seconds)[1]["ms"]["p99"])
        _, seen = deliver("arrivals", store, *words, "--hanging", HANGING, seconds=seconds)
        beside.append(seen["ms"]["p99"])
    yield Figure(
        row="webhooks",
        name=f"healthy endpoints' p99 while {HANGING} of {ENDPOINTS} hang, {store}",
        unit="ms",
        runs=beside,
        peer="without hanging endpoints",
        peer_runs=without,
        target="≤ 1.5×",
        is_ratio=True,
        at_most=1.5,
        note=f"{PER_SECOND:.0f} arrive per second; from queueing to the request's receipt",
    )


def latency(store: str, plan: Plan) -> Iterator[Figure]:
    """Measure from a signal to its request, on an idle line: the whole way, app and all."""
    p50: list[float] = []
    p99: list[float] = []
    for _ in range(plan.runs):
        with engines.line(store) as url:
            told = run(
                "bench.servers.signaller", "--log", url, "--count", plan.rounds(100), seconds=60
            )
        p50.append(told["ms"]["p50"])
        p99.append(told["ms"]["p99"])
    yield Figure(
        row="webhooks",
        name=f"signal fired to request received, idle, p50, {store}",
        unit="ms",
        runs=p50,
        target="≤ 20 ms",
        at_most=20.0,
        note=f"p99 {sorted(p99)[len(p99) // 2]:.1f} ms",
    )


def memory(store: str, plan: Plan) -> Iterator[Figure]:
    """Measure the worker's memory with a million queued, beside ten thousand."""
    many = plan.rounds(MANY)
    seconds = plan.seconds(10)
    large, _ = deliver("memory", store, "--count", many, "--seconds", seconds, seconds=300)
    small, _ = deliver("memory", store, "--count", FEW, "--seconds", seconds, seconds=60)
    yield Figure(
        row="webhooks",
        name=f"worker's memory with {many:,} queued, {store}",
        unit="MiB",
        runs=[large["after"] / 2**20],
        peer=f"with {FEW:,} queued",
        peer_runs=[small["after"] / 2**20],
        target="≤ 1.2×",
        is_ratio=True,
        at_most=1.2,
        note=f"delivering {large['rate']:,.0f}/s meanwhile",
    )
