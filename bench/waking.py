"""Wake-up: from the call of publish in one process to the handler in another, on each engine."""

from __future__ import annotations

from collections.abc import Iterator

from bench import engines
from bench.figures import Figure, Plan
from bench.programs import Told, companion, finish, run

#: The engines as people call them, and the bound on the median.
ENGINES = {
    "sqlite": ("SQLite", 10.0),
    "postgres": ("PostgreSQL", 2.0),
    "redis": ("Redis", 2.0),
    "nats": ("JetStream", 2.0),
}
LATEST = 10.0


def measure(plan: Plan) -> Iterator[Figure]:
    """Measure one engine after another."""
    seconds = plan.seconds(6)
    for engine, (name, bound) in ENGINES.items():
        heard: list[Told] = []
        stored: list[Told] = []
        for _ in range(plan.runs):
            with engines.line(engine) as url:
                both = wake(url, seconds)
                heard.append(both[0])
                stored.append(both[1])
        note = (
            "50 publishes a second; the publish itself is in it: "
            f"p50 {sorted(one['p50'] for one in stored)[len(stored) // 2]:.2f} ms"
        )
        for share, most in (("p50", bound), ("p99", LATEST)):
            yield Figure(
                row="waking",
                name=f"publish to handler in another process, {name}, {share}",
                unit="ms",
                runs=[one[share] for one in heard],
                target=f"≤ {most:g} ms",
                at_most=most,
                note=note,
            )


def wake(url: str, seconds: float) -> tuple[Told, Told]:
    """Return how late messages were heard, and how long publishing them took."""
    with companion("bench.servers.listener", "--log", url) as listener:
        stored = run("bench.servers.pacer", "--log", url, "--seconds", seconds, seconds=seconds)
        return finish(listener), stored
