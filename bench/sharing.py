"""Three processes publishing to one file, each as fast as it can: how long they wait, and who gets
how much."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.figures import Figure, Plan
from bench.programs import Told, folder, run_together

PROCESSES = 3
#: Seconds in which all of them have started and opened the file.
HEADSTART = 3.0
FAIREST = 100 / PROCESSES


def measure(plan: Plan) -> Iterator[Figure]:
    """Measure with one publisher in each process, and with sixteen."""
    for publishers in (1, 16):
        told = [together(publishers, plan.seconds(4)) for _ in range(plan.runs)]
        who = f"{PROCESSES} processes × {publishers} publisher{'s' * (publishers > 1)}"
        rates = [sum(one["rate"] for one in run) for run in told]
        yield Figure(
            row="processes",
            name=f"{who} on one file, p99 of a publish in the slowest process",
            unit="ms",
            runs=[max(one["ms"]["p99"] for one in run) for run in told],
            target="≤ 20 ms",
            at_most=20.0,
            note=f"together {sorted(rates)[len(rates) // 2]:,.0f} publishes/s",
        )
        yield Figure(
            row="processes",
            name=f"{who}, smallest share of the publishes",
            unit="%",
            runs=[
                100 * min(one["rate"] for one in run) / sum(one["rate"] for one in run)
                for run in told
            ],
            target="none starves: ≥ 20 %",
            at_least=20.0,
            note=f"an equal share is {FAIREST:.0f} %; a starving process publishes next to nothing",
        )


def together(publishers: int, seconds: float) -> list[Told]:
    """Run the processes at the same time and return what each tells."""
    with folder() as path:
        words: tuple[object, ...] = (
            "bench.servers.publisher",
            "--log",
            f"sqlite:///{path}/line.db",
        )
        words += ("--seconds", seconds, "--publishers", publishers)
        words += ("--at", time.time() + HEADSTART)
        return run_together([words] * PROCESSES, seconds=HEADSTART + seconds)
