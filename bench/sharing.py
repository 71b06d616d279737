"""Three processes publishing to one file, each as fast as it can: how long they wait, and who gets
how much."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.compiler import BUILD
from bench.figures import Figure, Plan
from bench.processes import ROOT, BenchError, clean_environment

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


def together(publishers: int, seconds: float) -> list[dict[str, Any]]:
    """Run the processes at the same time and return what each tells."""
    BUILD.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=BUILD))
    command = [sys.executable, "-m", "bench.servers.publisher", "--file", str(folder / "line.db")]
    command += ["--seconds", str(seconds), "--publishers", str(publishers)]
    command += ["--at", str(time.time() + HEADSTART)]
    started = [
        subprocess.Popen(command, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE)
        for _ in range(PROCESSES)
    ]
    try:
        printed = [process.communicate(timeout=60 + seconds)[0] for process in started]
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
                process.wait()
        shutil.rmtree(folder, ignore_errors=True)
    if any(process.returncode for process in started):
        raise BenchError("a publishing process failed")
    return [json.loads(text) for text in printed]
