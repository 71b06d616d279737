"""Guests' transactions: whether others notice open ones, and how soon a commit can be read."""

from __future__ import annotations

import contextlib
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen

from bench import engines
from bench.figures import Figure, Plan
from bench.programs import Told, companion, finish, folder, run
from bench.servers.control import percentiles
from bench.servers.guests import SETTLING

GUESTS = 32
OPEN_FOR = 1.0
PUBLISHERS = 16
ENGINES = {"postgres": "PostgreSQL", "sqlite": "SQLite, each guest in a file of its own"}


def measure(plan: Plan) -> Iterator[Figure]:
    """Measure both for one engine after the other."""
    for engine, name in ENGINES.items():
        yield beside_open_ones(engine, name, plan)
        yield from after_a_commit(engine, name, plan)


def beside_open_ones(engine: str, name: str, plan: Plan) -> Figure:
    """Measure publishers for a second beside open transactions, for a second without, and so on."""
    seconds = max(6.0, plan.seconds(10))
    runs = [by_turns(engine, seconds) for _ in range(plan.runs)]
    return Figure(
        row="guests",
        name=f"p99 of others' publishes while {GUESTS} transactions stay open, {name}",
        unit="ms",
        runs=[beside["p99"] for beside, _ in runs],
        peer="without guests",
        peer_runs=[alone["p99"] for _, alone in runs],
        target="≤ 1.2×",
        is_ratio=True,
        at_most=1.2,
        note=f"all open for {OPEN_FOR:g} s with a message in each, then none for as long; "
        "the moments in which they begin or commit, all at once, are left out; "
        f"{PUBLISHERS} publishers in another process; beside the guests "
        f"{sum(beside['count'] for beside, _ in runs):,} publishes, without "
        f"{sum(alone['count'] for _, alone in runs):,}",
    )


def by_turns(engine: str, seconds: float) -> tuple[dict[str, float], dict[str, float]]:
    """Return how long publishes took beside open transactions, and when there were none."""
    with places(engine, GUESTS) as (log, guests), worker(log, guests), folder() as path:
        words = ("--log", log, *each("--guest", guests), "--hold", OPEN_FOR)
        with companion("bench.servers.guests", *words) as process:
            publish(log, seconds, path / "times")
            spans = finish(process)["open"]
        times = array("d")
        times.frombytes((path / "times").read_bytes())
    half = len(times) // 2
    beside: list[float] = []
    alone: list[float] = []
    for began, took in zip(times[:half], times[half:], strict=True):
        ended = began + took
        if any(first <= began and ended <= last for first, last in spans):
            beside.append(took)
        elif not any(first - SETTLING < ended and began < last + SETTLING for first, last in spans):
            alone.append(took)
    return percentiles(beside), percentiles(alone)


def after_a_commit(engine: str, name: str, plan: Plan) -> Iterator[Figure]:
    """Measure from a guest's publish and commit to the handler in the worker."""
    heard: list[Told] = []
    for _ in range(plan.runs):
        with places(engine, 1) as (log, guests), worker(log, guests) as listener:
            words = ("--log", log, *each("--guest", guests))
            with companion("bench.servers.guests", *words) as process:
                time.sleep(plan.seconds(6))
                finish(process)
            heard.append(finish(listener))
    for share in ("p50", "p99"):
        yield Figure(
            row="guests",
            name=f"a guest's commit to the log's reader, idle, {name.partition(',')[0]}, {share}",
            unit="ms",
            runs=[one[share] for one in heard],
            target="≤ 20 ms",
            at_most=20.0,
            note="from before the guest's publish and commit, in synchronous code, to a handler in "
            "the worker that relays; 10 commits a second",
        )


@contextlib.contextmanager
def places(engine: str, count: int) -> Iterator[tuple[str, list[str]]]:
    """Give the URLs of a line and of its guests' databases."""
    with engines.line(engine) as log, folder() as path:
        if engine == "sqlite":
            yield log, [f"sqlite:///{path}/guest{number}.db" for number in range(count)]
        else:
            yield log, [log] * count


@contextlib.contextmanager
def worker(log: str, guests: list[str]) -> Iterator[Popen[str]]:
    """Run a worker that relays for the guests, and listens."""
    outboxes = [] if guests[0] == log else guests
    words = ("--log", log, "--works", *each("--outbox", outboxes))
    with companion("bench.servers.listener", *words) as process:
        yield process


def each(option: str, values: list[str]) -> list[str]:
    """Return an option's words, once for each value."""
    return [word for value in values for word in (option, value)]


def publish(log: str, seconds: float, times: Path) -> Told:
    """Run the other publishers."""
    words = ("--log", log, "--seconds", seconds, "--publishers", PUBLISHERS, "--times", times)
    return run("bench.servers.publisher", *words, seconds=seconds)
