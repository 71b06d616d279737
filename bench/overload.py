"""More messages than can be delivered one by one: 5000 streams under steady load, and the latency
at 30 % of it."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from statistics import median

from bench.figures import Figure, Plan
from bench.processes import Answer, Load, Server, plain_uvicorn, trunkline

#: Messages a second that are asked for: twenty times what goes out one by one.
ASKED = 500
SECONDS = 15
#: So small that it is full long before the run ends, and memory is seen to stay flat.
RING = 1024 * 1024
#: So many that a client starved of processor by others finds its messages in the log.
KEPT = 1_000_000
SHARE = 0.3
SPREAD = 50
FEWER = 1000
PEER = "plain ASGI on uvicorn"

Found = dict[str, list[float]]


def measure(plan: Plan) -> Iterator[Figure]:
    """Measure both on one server at a time: first the load, then a share of it."""
    found: Found = defaultdict(list)
    for _ in range(plan.runs):
        with trunkline(ring_bytes=RING, max_backlog_size=KEPT) as server:
            with Load(server, "sse", plan.crowd) as load:
                alone = SHARE * single_rate(plan, load)
                flood(plan, server, load, found)
                paced(plan, server, load, SHARE * found["messages"][-1], found, "one channel")
            with Load(server, "sse", plan.crowd, channels=SPREAD) as load:
                paced(plan, server, load, alone * SPREAD / plan.crowd, found, "many channels")
            with Load(server, "sse", FEWER) as load:
                fewer = SHARE * single_rate(plan, load) / FEWER
                paced(plan, server, load, fewer, found, "fewer")
        with plain_uvicorn() as server, Load(server, "sse", plan.crowd, channels=SPREAD) as load:
            paced(plan, server, load, alone * SPREAD / plan.crowd, found, "many channels")
        with plain_uvicorn() as server, Load(server, "sse", FEWER) as load:
            paced(plan, server, load, fewer, found, "fewer")
    yield from flooded(plan, found)
    yield from latencies(plan, found)


def single_rate(plan: Plan, load: Load) -> float:
    """Return the deliveries per second without coalescing."""
    told = load.ask(f"ack 5 {plan.rounds(60)} 60000")
    rate: float = told["deliveries"] / told["seconds"]
    return rate


def flood(plan: Plan, server: Server, load: Load, found: Found) -> None:
    """Ask for more than can be delivered, and watch what arrives, and the memory."""
    load.ask("reset")
    sizes: list[tuple[float, int]] = []

    def look() -> None:
        sizes.append((time.monotonic(), server.resident))

    seconds = plan.seconds(SECONDS)
    busy = server.busy
    told = server.ask(f"pace {ASKED} {seconds} 1", within=60 + seconds, meanwhile=look)
    seen = load.ask(f"wait {told['published'] * plan.crowd} 30000")
    found["rate"].append(seen["deliveries"] / seen["seconds"])
    found["messages"].append(told["published"] / told["seconds"])
    found["p99"].append(seen["latency_ms"]["p99"])
    found["growth"].append(growth(sizes))
    print(
        f"  flood {found['rate'][-1]:,.0f}/s, {found['messages'][-1]:.0f} messages/s, "
        f"busy {(server.busy - busy) / seen['seconds']:.0%}, {latency(seen)}, "
        f"memory {found['growth'][-1]:+.2f} %",
        file=sys.stderr,
    )


def growth(sizes: list[tuple[float, int]]) -> float:
    """Return by how many percent memory grew between the middle third and the last."""
    third = len(sizes) // 3
    middle = [size for _, size in sizes[third : 2 * third]]
    last = [size for _, size in sizes[2 * third :]]
    if not middle or not last:
        return 0.0
    return 100 * (max(last) / max(middle) - 1)


def paced(plan: Plan, server: Server, load: Load, rate: float, found: Found, case: str) -> None:
    """Publish so many messages a second and note how long they take."""
    load.ask("reset")
    told = server.ask(f"pace {rate} {plan.seconds(4)} {load.channels}")
    each = load.connections // load.channels
    seen = load.ask(f"wait {told['published'] * each} 30000")
    key = f"{server.name} {case}"
    found[f"{key} p50"].append(seen["latency_ms"]["p50"])
    found[f"{key} p99"].append(seen["latency_ms"]["p99"])
    found[f"{key} rate"].append(seen["deliveries"] / told["seconds"])
    print(f"  {key}: {rate:.0f} messages/s, {latency(seen)}", file=sys.stderr)


def latency(seen: Answer) -> str:
    """Describe the latencies of an answer."""
    return f"p50 {seen['latency_ms']['p50']:.1f} ms, p99 {seen['latency_ms']['p99']:.1f} ms"


def flooded(plan: Plan, found: Found) -> Iterator[Figure]:
    """Make the figures of the load."""
    yield Figure(
        row="overload",
        name=f"{plan.crowd} SSE streams, {ASKED} messages/s asked for, none lost",
        unit="deliveries/s",
        runs=found["rate"],
        target="≥ 500,000",
        at_least=500_000,
        note=(
            f"SQLite log; {median(found['messages']):.0f} messages/s were published and every "
            f"client checked its ids; p99 of delivery {median(found['p99']):.0f} ms"
        ),
    )
    yield Figure(
        row="overload",
        name="memory growth of the server in the last third of it",
        unit="%",
        runs=found["growth"],
        target="flat: ≤ 2 %",
        at_most=2.0,
        note=f"ring_bytes={RING}, so that the ring is full before the last third",
    )


def latencies(plan: Plan, found: Found) -> Iterator[Figure]:
    """Make the figures of latency."""
    each = plan.crowd // SPREAD
    cases = {
        "many channels": (
            f"{plan.crowd} streams, {each} on each of {SPREAD} channels",
            "30 % of what they take without coalescing",
        ),
        "fewer": (f"{FEWER} streams on one channel", "30 % of what they take without coalescing"),
        "one channel": (
            f"{plan.crowd} streams on one channel",
            "30 % of the messages of the overload, which is more than can go out one by one",
        ),
    }
    for case, (name, load) in cases.items():
        rate = median(found[f"trunkline {case} rate"])
        for share, bound in (("p50", 3.0), ("p99", 15.0)):
            peers = found.get(f"uvicorn {case} {share}", [])
            yield Figure(
                row="latency",
                name=f"publish to receive, {name}, {share}",
                unit="ms",
                runs=found[f"trunkline {case} {share}"],
                peer=PEER if peers else "",
                peer_runs=peers,
                target=f"≤ {bound:g} ms",
                at_most=bound,
                note=f"at {rate:,.0f} deliveries/s: {load}",
            )
