"""Publishes on NATS JetStream, beside nats-py's own, which bear no ids of ours."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench import engines
from bench.figures import Figure, Plan
from bench.programs import Told, run, run_together
from bench.publishing import busy, crowd

COUNT = 64
PEER = "nats-py's js.publish, 64 at a time, no ids"
#: Seconds in which two processes have started and opened the line.
HEADSTART = 3.0


def measure(plan: Plan) -> Iterator[Figure]:
    """Measure on one server and on three replicas."""
    for replicas in (1, 3):
        yield from measure_on(replicas, plan)


def measure_on(replicas: int, plan: Plan) -> Iterator[Figure]:
    """Measure by turns, each on fresh servers: plain publishes, ours, two processes of ours."""
    seconds = plan.seconds(3)
    plain: list[Told] = []
    ours: list[Told] = []
    hot: list[list[Told]] = []
    for _ in range(plan.runs):
        with engines.nats(replicas) as url:
            words = ("--url", url, "--seconds", seconds, "--publishers", COUNT)
            plain.append(
                run("bench.peers.plain_nats", *words, "--replicas", replicas, seconds=seconds)
            )
        with engines.nats(replicas) as url:
            words = ("--log", log_of(url, replicas), "--seconds", seconds, "--publishers", COUNT)
            ours.append(run("bench.servers.publisher", *words, seconds=seconds))
        with engines.nats(replicas) as url:
            hot.append(hot_channel(log_of(url, replicas), seconds))
    where = "one server" if replicas == 1 else "three replicas"
    yield Figure(
        row="nats",
        name=f"publishes on JetStream, {where}, {crowd(COUNT)}",
        unit="/s",
        runs=[one["rate"] for one in ours],
        peer=PEER,
        peer_runs=[one["rate"] for one in plain],
        target="≥ 1×",
        is_ratio=True,
        at_least=1.0,
        note=f"files; processor time of our process for a publish {busy(ours):.0f} µs, "
        f"of the peer {busy(plain):.0f} µs",
    )
    shares = [
        100 * min(one["rate"] for one in two) / sum(one["rate"] for one in two) for two in hot
    ]
    is_dense = all(one["dense"] for two in hot for one in two)
    yield Figure(
        row="nats",
        name=f"one hot channel on JetStream, {where}, two processes × {COUNT}",
        unit="/s",
        runs=[sum(one["rate"] for one in two) if is_dense else 0.0 for two in hot],
        peer=PEER,
        peer_runs=[one["rate"] for one in plain],
        target="≥ 0.3×, dense",
        is_ratio=True,
        at_least=0.3,
        note=("ids dense" if is_dense else "ids NOT dense: counted as nothing")
        + f"; smaller share {min(shares):.0f} %; p99 of a publish "
        f"{max(one['ms']['p99'] for two in hot for one in two):.0f} ms",
    )


def log_of(url: str, replicas: int) -> str:
    """Return the URL of a line with so many replicas."""
    return f"{url}?replicas={replicas}"


def hot_channel(log: str, seconds: float) -> list[Told]:
    """Run two processes that publish to the same channel."""
    words: tuple[object, ...] = ("bench.servers.publisher", "--log", log, "--seconds", seconds)
    words += ("--publishers", COUNT, "--channels", 1, "--at", time.time() + HEADSTART)
    return run_together([words, words], seconds=HEADSTART + seconds)
