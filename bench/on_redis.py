"""Publishes on Redis, beside one call of a script per message and connection."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import engines
from bench.compiler import redis_client
from bench.figures import Figure, Plan
from bench.programs import SPARE, Told
from bench.publishing import busy, crowd, publishers
from bench.servers.control import PAYLOAD
from bench.servers.publisher import CHANNELS

SCRIPT = Path(__file__).parent / "peers" / "publish_one.lua"
COUNT = 64
TARGET = 1.2


def measure(plan: Plan) -> Iterator[Figure]:
    """Measure by turns: the single-message script, and ours."""
    seconds = plan.seconds(3)
    ours: list[Told] = []
    peers: list[float] = []
    for _ in range(plan.runs):
        with engines.redis() as server:
            digest = asyncio.run(server.execute("SCRIPT", "LOAD", SCRIPT.read_text()))
            peers.append(singles(server.port, _text(digest), seconds))
        with engines.redis() as server:
            ours.append(publishers(server.log_url, COUNT, seconds))
    yield Figure(
        row="redis",
        name=f"publishes on Redis, {crowd(COUNT)}",
        unit="/s",
        runs=[one["rate"] for one in ours],
        peer="a script per message, 64 connections, one request in flight on each",
        peer_runs=peers,
        target=f"≥ {TARGET:g}×",
        is_ratio=True,
        at_least=TARGET,
        note="both append-only with appendfsync always. The peer is a client in C that does what "
        "redis-benchmark -P 1 does, which the wheel lacks. Processor time of our process for a "
        f"publish {busy(ours):.0f} µs",
    )


def singles(port: int, digest: str, seconds: float) -> float:
    """Call the single-message script from a client in C, and return its rate."""
    words = [redis_client(), port, digest, COUNT, seconds, CHANNELS, PAYLOAD]
    printed = subprocess.check_output(list(map(str, words)), timeout=SPARE + seconds)
    return float(json.loads(printed)["rate"])


def _text(digest: Any) -> str:
    return digest.decode() if isinstance(digest, bytes) else str(digest)
