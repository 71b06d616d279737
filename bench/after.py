"""What follows from commands: routing, rebuilding a projection, and eventual handlers."""

from __future__ import annotations

from collections.abc import Iterator

from bench import engines
from bench.figures import Figure, Plan
from bench.programs import Told, companion, finish, run

PROGRAM = "bench.servers.follower"
EVENTS = 100_000
PINGS = 200
ENGINES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}


def measure(plan: Plan) -> Iterator[Figure]:
    """Measure routing, then each engine."""
    yield from routing(plan)
    yield from rebuilding(plan)
    yield from following(plan)


def routing(plan: Plan) -> Iterator[Figure]:
    """Find who hears a name among 1000 patterns."""
    told = [run(PROGRAM, "--what", "routing", seconds=10) for _ in range(plan.runs)]
    names = {"new": "ids that never came before", "known": "names that came before"}
    for kind, name in names.items():
        yield Figure(
            row="after",
            name=f"routing, 1000 patterns, {name}",
            unit="µs/event",
            runs=[one[kind] for one in told],
            target="≤ 5 µs",
            at_most=5.0,
            note="three of them match, their parameters captured" if kind == "new" else "",
        )


def rebuilding(plan: Plan) -> Iterator[Figure]:
    """Rebuild a projector of one statement for each event."""
    count = plan.rounds(EVENTS)
    for engine, name in ENGINES.items():
        told: list[Told] = []
        for _ in range(plan.runs):
            with engines.line(engine) as url:
                words = ("--what", "rebuild", "--log", url, "--events", count)
                told.append(run(PROGRAM, *words, seconds=120))
        is_sqlite = engine == "sqlite"
        yield Figure(
            row="after",
            name=f"rebuild of a trivial projector, {name}",
            unit="events/s",
            runs=[one["rate"] for one in told],
            target="≥ 50,000" if is_sqlite else "",
            at_least=50_000 if is_sqlite else None,
            note=f"{count:,} events, each decoded and handed over by itself, one INSERT each",
        )


def following(plan: Plan) -> Iterator[Figure]:
    """Wait for the effect of a command on an idle system, in its process and in another."""
    count = plan.rounds(PINGS)
    for engine, name in ENGINES.items():
        together: list[list[float]] = []
        apart: list[list[float]] = []
        for _ in range(plan.runs):
            with engines.line(engine) as url:
                words = ("--log", url, "--events", count)
                told = run(PROGRAM, "--what", "both", *words, seconds=60)
                together.append(_late(told["sent"], told["seen"]))
            with (
                engines.line(engine) as url,
                companion(PROGRAM, "--what", "follow", "--log", url) as follower,
            ):
                words = ("--log", url, "--events", count)
                told = run(PROGRAM, "--what", "ping", *words, seconds=60)
                apart.append(_late(told["sent"], finish(follower)))
        across = 20.0 if engine == "sqlite" else 10.0
        for place, runs, bound in (("", together, 10.0), (" across processes", apart, across)):
            yield Figure(
                row="after",
                name=f"eventual handler, commit to effect{place}, {name}, p50",
                unit="ms",
                runs=[one[len(one) // 2] for one in runs],
                target=f"≤ {bound:g} ms",
                at_most=bound,
                note="33 commands a second; p99 "
                f"{sorted(one[len(one) * 99 // 100] for one in runs)[len(runs) // 2]:.1f} ms",
            )


def _late(sent: Told, seen: Told) -> list[float]:
    return sorted(max(0.0, seen[number] - at) * 1e3 for number, at in sent.items())
