"""Durable publishes per second, one process, beside a commit per insert through raw sqlite3."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from bench.figures import Figure, Plan
from bench.programs import Told, folder, run

TARGETS = {1: 0.6, 64: 6.0, 512: 10.0}


def measure(plan: Plan) -> Iterator[Figure]:
    """Measure by turns: raw sqlite3, then one, 64 and 512 publishers, and again."""
    seconds = plan.seconds(2)
    raw: list[Told] = []
    ours: dict[int, list[Told]] = {count: [] for count in TARGETS}
    for _ in range(plan.runs):
        with folder() as path:
            words = ("--file", path / "raw.db", "--seconds", seconds)
            raw.append(run("bench.peers.raw_sqlite", *words, seconds=seconds))
        for count, told in ours.items():
            with folder() as path:
                told.append(publishers(f"sqlite:///{path}/line.db", count, seconds))
    for count, told in ours.items():
        yield Figure(
            row="publish",
            name=f"durable publishes, {crowd(count)}",
            unit="/s",
            runs=[one["rate"] for one in told],
            peer="sqlite3, a commit per insert",
            peer_runs=[one["rate"] for one in raw],
            target=f"≥ {TARGETS[count]:g}×",
            is_ratio=True,
            at_least=TARGETS[count],
            note=f"processor time of a publish {busy(told):.0f} µs, peer {busy(raw):.0f} µs",
        )


def publishers(log: str, count: int, seconds: float) -> Told:
    """Run a process of publishers on a line and return what it tells."""
    words = ("--log", log, "--seconds", seconds, "--publishers", count)
    return run("bench.servers.publisher", *words, seconds=seconds)


def crowd(count: int) -> str:
    """Name a number of publishers."""
    return f"{count} concurrent publisher{'s' * (count > 1)}"


def busy(told: Sequence[Told]) -> float:
    """Return the median processor time of a publish in microseconds."""
    return float(median(one["busy_us"] for one in told))
