"""Thousands of idle connections: what each costs, and how long a message to all holds the loop."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from bench.figures import Figure, Plan
from bench.processes import Load, Server, plain_uvicorn, trunkline

PROTOCOLS = {"poll": "chunked poll", "sse": "SSE", "ws": "WebSocket"}
PEER = "plain ASGI on uvicorn"
WARM_UP = 100
SETTLED = 0.5

Sizes = dict[tuple[str, str], list[float]]


def measure(plan: Plan) -> Iterator[Figure]:
    """Measure each transport on a fresh server, for memory once used is seldom given back."""
    sizes: Sizes = defaultdict(list)
    held: Sizes = defaultdict(list)
    samples: list[float] = []
    for _ in range(plan.runs):
        for kind, make in (("ours", trunkline), ("plain", plain_uvicorn)):
            for protocol in PROTOCOLS:
                with make() as server, held_open(plan, server, protocol) as (load, size):
                    sizes[protocol, kind].append(size)
                    if protocol == "sse":
                        told = loop_held(plan, server, load)
                        held["fanout", kind].append(told["fanout"]["p99"])
                        held["median", kind].append(told["fanout"]["p50"])
                        if kind == "ours":
                            samples.append(told["sample"]["p99"])
    yield from memory(plan, sizes)
    yield Figure(
        row="loop",
        name=f"longest the loop is held by a fan-out to {plan.crowd}, p99 over fan-outs (SSE)",
        unit="ms",
        runs=held["fanout", "ours"],
        peer=PEER,
        peer_runs=held["fanout", "plain"],
        target="≤ 10 ms",
        at_most=10.0,
        note=(
            f"median over fan-outs {sorted(held['median', 'ours'])[plan.runs // 2]:.1f} ms; over "
            f"all samples of a 1 ms timer the p99 is {sorted(samples)[plan.runs // 2]:.1f} ms"
        ),
    )


@contextmanager
def held_open(plan: Plan, server: Server, protocol: str) -> Iterator[tuple[Load, float]]:
    """Hold the connections open, and say how many KiB each costs the server."""
    with Load(server, protocol, WARM_UP):
        pass  # whatever is made once for the first clients is made now
    time.sleep(SETTLED)
    before = server.resident
    with Load(server, protocol, plan.crowd) as load:
        time.sleep(2 * SETTLED)
        size = (server.resident - before) / plan.crowd / 1024
        print(f"  {server.name:10}{protocol:5}{size:6.2f} KiB each", file=sys.stderr)
        yield load, size


def loop_held(plan: Plan, server: Server, load: Load) -> dict[str, dict[str, float]]:
    """Fan out one message after another, and ask how long the loop was held."""
    server.ask("probe")
    load.ask(f"ack 5 {plan.rounds(100)} 60000")
    told = server.ask("probed")
    print(f"  {server.name:10}loop held {told['fanout']}", file=sys.stderr)
    return told


def memory(plan: Plan, sizes: Sizes) -> Iterator[Figure]:
    """Make the figures of memory."""
    for protocol, name in PROTOCOLS.items():
        yield Figure(
            row="memory",
            name=f"memory per idle connection at {plan.crowd}, {name}",
            unit="KiB",
            runs=sizes[protocol, "ours"],
            peer=PEER,
            peer_runs=sizes[protocol, "plain"],
            target="≤ 4 KiB",
            at_most=4.0,
            note="growth of the process's resident memory",
        )
