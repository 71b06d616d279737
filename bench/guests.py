"""Guests' transactions: whether others notice open ones, and how soon a commit can be read."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from subprocess import Popen

from bench import engines
from bench.figures import Figure, Plan
from bench.programs import Told, companion, finish, folder, run

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
    """Measure publishers by turns without guests and beside them."""
    seconds = max(3.0, plan.seconds(6))
    alone: list[Told] = []
    beside: list[Told] = []
    for _ in range(plan.runs):
        with places(engine, GUESTS) as (log, guests), worker(log, guests):
            # What runs first finds small tables: neither kind shall always be the first.
            is_first = len(alone) % 2 == 0
            if is_first:
                alone.append(publish(log, seconds))
            words = ("--log", log, *each("--guest", guests), "--hold", OPEN_FOR)
            with companion("bench.servers.guests", *words) as process:
                beside.append(publish(log, seconds))
                finish(process)
            if not is_first:
                alone.append(publish(log, seconds))
    rates = [one["rate"] for one in beside]
    return Figure(
        row="guests",
        name=f"p99 of others' publishes while {GUESTS} transactions stay open, {name}",
        unit="ms",
        runs=[one["ms"]["p99"] for one in beside],
        peer="without guests",
        peer_runs=[one["ms"]["p99"] for one in alone],
        target="≤ 1.2×",
        is_ratio=True,
        at_most=1.2,
        note=f"each open for {OPEN_FOR:g} s with a message in it, then the next; "
        f"{PUBLISHERS} publishers; beside the guests {sorted(rates)[len(rates) // 2]:,.0f} "
        f"publishes/s, without {sorted(one['rate'] for one in alone)[len(alone) // 2]:,.0f}",
    )


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


def publish(log: str, seconds: float) -> Told:
    """Run the other publishers."""
    words = ("--log", log, "--seconds", seconds, "--publishers", PUBLISHERS)
    return run("bench.servers.publisher", *words, seconds=seconds)
