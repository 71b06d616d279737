"""Durable publishes per second, one process, beside a commit per insert through raw sqlite3."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from bench.compiler import BUILD
from bench.figures import Figure, Plan
from bench.processes import ROOT, clean_environment

TARGETS = {1: 0.6, 64: 6.0, 512: 10.0}


def measure(plan: Plan) -> Iterator[Figure]:
    """Measure by turns: raw sqlite3, then one, 64 and 512 publishers, and again."""
    seconds = plan.seconds(2)
    raw: list[dict[str, Any]] = []
    ours: dict[int, list[dict[str, Any]]] = {count: [] for count in TARGETS}
    for _ in range(plan.runs):
        raw.append(run("bench.peers.raw_sqlite", seconds))
        for count, told in ours.items():
            told.append(run("bench.servers.publisher", seconds, "--publishers", count))
    for count, told in ours.items():
        yield Figure(
            row="publish",
            name=f"durable publishes, {count} concurrent publisher{'s' * (count > 1)}",
            unit="/s",
            runs=[one["rate"] for one in told],
            peer="sqlite3, a commit per insert",
            peer_runs=[one["rate"] for one in raw],
            target=f"≥ {TARGETS[count]:g}×",
            is_ratio=True,
            at_least=TARGETS[count],
            note=f"processor time of a publish {busy(told):.0f} µs, peer {busy(raw):.0f} µs",
        )


def busy(told: list[dict[str, Any]]) -> float:
    """Return the median processor time of a publish in microseconds."""
    return float(median(one["busy_us"] for one in told))


def run(module: str, seconds: float, *words: object) -> dict[str, Any]:
    """Run one process on a fresh file of this disk, and return what it tells."""
    BUILD.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=BUILD))
    command = [sys.executable, "-m", module, "--file", str(folder / "line.db")]
    command += ["--seconds", str(seconds), *map(str, words)]
    try:
        printed = subprocess.check_output(
            command, cwd=ROOT, env=clean_environment(), timeout=60 + seconds
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    told: dict[str, Any] = json.loads(printed)
    return told
