"""Fan-out to 1000 streams: one message at a time, and a burst; beside the same on plain ASGI.

One at a time means that the next message is asked for when every client has the last one. Both
servers are asked in the same way, and the time counts from publishing to the last delivery. The
peer stores nothing, so ours is measured twice: with a log in memory, which is the fan-out alone,
and with the SQLite log, where the disk's flush stands between any two messages.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager

from bench.figures import Figure, Plan
from bench.processes import Load, Server, plain_uvicorn, trunkline

CLIENTS = 1000
BURST = 200
WARM = 30
PROTOCOLS = {"poll": "chunked poll", "sse": "SSE", "ws": "WebSocket"}
PEER = "plain ASGI on uvicorn"

Rates = dict[tuple[str, str, str], list[float]]


def measure(plan: Plan) -> Iterator[Figure]:
    """Measure ours and the peer by turns."""
    rates: Rates = defaultdict(list)
    for number in range(plan.runs):
        for protocol in PROTOCOLS:
            # A server for each, for the plain one never learns that a client has gone.
            for kind, context in servers(number):
                with context as server:
                    one_server(plan, kind, server, protocol, rates)
    yield from one_at_a_time(rates)
    yield from bursts(rates)


def servers(number: int) -> list[tuple[str, AbstractContextManager[Server]]]:
    """Return what one run measures, in an order that changes."""
    pair = [("ours", trunkline()), ("plain", plain_uvicorn())]
    return [*(pair if number % 2 else pair[::-1]), ("memory", trunkline("memory"))]


def one_server(plan: Plan, kind: str, server: Server, protocol: str, rates: Rates) -> None:
    """Measure one transport of one server."""
    with Load(server, protocol, CLIENTS) as load:
        before = server.busy
        told = load.ask(f"ack {WARM} {plan.rounds(200)} 60000")
        used = server.busy - before
        rate = told["deliveries"] / told["seconds"]
        rates["single", protocol, kind].append(rate)
        per_message = used * 1e6 / (told["deliveries"] + WARM * CLIENTS)
        rates["processor", protocol, kind].append(per_message)
        print(
            f"  {kind:7}{protocol:5}{rate:10,.0f}/s, {per_message:.1f} µs of processor each",
            end="", file=sys.stderr,
        )  # fmt: skip
        best = 0.0
        for _ in range(3):
            load.ask("reset")
            server.ask(f"burst {BURST}")
            told = load.ask(f"wait {BURST * CLIENTS} 30000")
            best = max(best, told["deliveries"] / told["seconds"])
        rates["burst", protocol, kind].append(best)
        print(f"; burst {best:,.0f}/s", file=sys.stderr)


def one_at_a_time(rates: Rates) -> Iterator[Figure]:
    """Make the figures of the first row: like for like, and with every message durable first."""
    for kind, log in (("memory", "nothing stored, as by the peer"), ("ours", "durable first")):
        for protocol, name in PROTOCOLS.items():
            cost = {who: sorted(rates["processor", protocol, who]) for who in (kind, "plain")}
            middle = len(cost[kind]) // 2
            yield Figure(
                row="fanout",
                name=f"one message at a time to {CLIENTS} clients, {name}, {log}",
                unit="deliveries/s",
                runs=rates["single", protocol, kind],
                peer=PEER,
                peer_runs=rates["single", protocol, "plain"],
                target="≥ 1.5×",
                is_ratio=True,
                at_least=1.5,
                note=(
                    f"{'memory' if kind == 'memory' else 'SQLite'} log. Processor time of the "
                    f"server per delivery {cost[kind][middle]:.1f} µs, plain "
                    f"{cost['plain'][middle]:.1f} µs"
                ),
            )


def bursts(rates: Rates) -> Iterator[Figure]:
    """Make the figures of the second row."""
    for protocol, name in PROTOCOLS.items():
        yield Figure(
            row="burst",
            name=f"a burst of {BURST} messages to {CLIENTS} clients, {name}",
            unit="deliveries/s",
            runs=rates["burst", protocol, "ours"],
            peer=f"{PEER}, joining what waits" if protocol != "ws" else PEER,
            peer_runs=rates["burst", protocol, "plain"],
            target="≥ 1,000,000",
            at_least=1e6,
            note="SQLite log; from the first publish to the last delivery; best of 3 bursts a run",
        )
