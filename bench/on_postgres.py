"""Publishes on PostgreSQL, beside pgbench with a publish per transaction."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench import engines
from bench.figures import Figure, Plan
from bench.processes import BenchError
from bench.programs import SPARE, Told, folder
from bench.publishing import busy, crowd, publishers
from trunkline.testing.postgres_server import PostgresServer

#: What the peer writes to: no more than a message and its two ids need.
TABLES = """
CREATE SCHEMA IF NOT EXISTS bench;
CREATE TABLE bench.line (head bigint NOT NULL) WITH (fillfactor = 10);
INSERT INTO bench.line VALUES (0);
CREATE SEQUENCE bench.number;
CREATE TABLE bench.channel (name text PRIMARY KEY, last_id bigint NOT NULL)
  WITH (fillfactor = 50);
INSERT INTO bench.channel SELECT '/bench/' || n, 0 FROM generate_series(0, 99) n;
CREATE TABLE bench.message (
  global_id bigint PRIMARY KEY, name text NOT NULL, message_id bigint NOT NULL,
  published_at timestamptz NOT NULL, data text NOT NULL
);
CREATE UNIQUE INDEX message_channel ON bench.message (name, message_id);
"""
_PUBLISH = (
    "\\set n random(0, 99)\n"
    "WITH l AS ({number}), "
    "c AS (UPDATE bench.channel SET last_id = last_id + 1 "
    "WHERE name = '/bench/' || :n RETURNING name, last_id) "
    "INSERT INTO bench.message SELECT l.head, c.name, c.last_id, now(), repeat('x', 200) "
    "FROM l, c RETURNING global_id, message_id;\n"
)
#: Dense global ids, as ours are; and numbers of a sequence, which leave holes and whose order is
#: not that of the commits, but for which nobody waits.
SCRIPTS = {
    "dense": _PUBLISH.format(number="UPDATE bench.line SET head = head + 1 RETURNING head"),
    "loose": _PUBLISH.format(number="SELECT nextval('bench.number') AS head"),
}
#: Publishers, the peer's script, what must be reached, and how the peer is named.
ROWS = (
    (64, "dense", 4.0, "pgbench -c 64, a publish per transaction"),
    (64, "loose", 4.0, "pgbench -c 64, ids from a sequence: holes, no order"),
    (1, "dense", 0.7, "pgbench -c 1, a publish per transaction"),
)


def measure(plan: Plan) -> Iterator[Figure]:
    """Measure by turns, each on a fresh server: the peer's scripts and ours."""
    seconds = plan.seconds(3)
    ours: dict[int, list[Told]] = {64: [], 1: []}
    peers: dict[tuple[int, str], list[float]] = {row[:2]: [] for row in ROWS}
    for _ in range(plan.runs):
        for count, told in ours.items():
            for script in [row[1] for row in ROWS if row[0] == count]:
                with engines.postgres() as server:
                    peers[count, script].append(pgbench(server, script, count, seconds))
            with engines.postgres() as server:
                told.append(publishers(server.url, count, seconds))
    for count, script, target, peer in ROWS:
        yield Figure(
            row="postgres",
            name=f"publishes on PostgreSQL, {crowd(count)}"
            + (" (looser peer)" if script == "loose" else ""),
            unit="/s",
            runs=[one["rate"] for one in ours[count]],
            peer=peer,
            peer_runs=peers[count, script],
            target=f"≥ {target:g}×",
            is_ratio=True,
            at_least=target,
            note=f"processor time of our process for a publish {busy(ours[count]):.0f} µs",
        )


def pgbench(server: PostgresServer, script: str, clients: int, seconds: float) -> float:
    """Run pgbench, with prepared statements, and return its transactions per second."""
    run([str(server.binaries / "psql"), "-q", "-X", "-d", server.url, "-c", TABLES])
    with folder() as path:
        file = path / "publish.sql"
        file.write_text(SCRIPTS[script])
        words = pgbench_command(server, file, clients, seconds)
        printed = run(words, within=SPARE + seconds)
    found = re.search(r"^tps = ([0-9.]+)", printed, re.MULTILINE)
    if found is None:
        raise BenchError(f"pgbench told no rate:\n{printed}")
    return float(found[1])


def pgbench_command(server: PostgresServer, file: Path, clients: int, seconds: float) -> list[str]:
    """Return the call of pgbench."""
    command = [str(server.binaries / "pgbench"), "-n", "-M", "prepared", "-f", str(file)]
    command += ["-c", str(clients), "-j", str(min(2, clients)), "-T", str(max(1, round(seconds)))]
    return [*command, server.url]


def run(words: list[str], within: float = SPARE) -> str:
    """Run a program of the server's and return what it prints."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=within, check=False)
    if done.returncode:
        raise BenchError(f"{Path(words[0]).name} failed:\n{done.stderr[-2000:]}")
    return done.stdout
