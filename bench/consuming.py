"""A durable consumer with a trivial handler, whose position is committed with each page."""

from __future__ import annotations

from collections.abc import Iterator

from bench import engines
from bench.figures import Figure, Plan
from bench.programs import Told, run

MESSAGES = 60_000
HANDLERS = {"lists": "lists of up to 500", "one": "one message at a time, a page in a commit"}
TARGET = 20_000


def measure(plan: Plan) -> Iterator[Figure]:
    """Measure both kinds of handler, by turns."""
    # A start lasts a good part of a second, so even a brief run needs many.
    count = max(30_000, plan.rounds(MESSAGES) // 500 * 500)
    told: dict[str, list[Told]] = {kind: [] for kind in HANDLERS}
    for _ in range(plan.runs):
        for kind, mine in told.items():
            with engines.postgres() as server:
                words = ("--log", server.url, "--messages", count, "--by", kind)
                mine.append(run("bench.servers.consuming", *words, seconds=60))
    for kind, mine in told.items():
        yield Figure(
            row="consumer",
            name=f"durable consumer on PostgreSQL, a handler of {HANDLERS[kind]}",
            unit="messages/s",
            runs=[one["rate"] for one in mine],
            target=f"≥ {TARGET:,}",
            at_least=TARGET,
            note=f"handle(…, tx), so exactly once; {count:,} messages that wait, from its start to "
            "its last commit",
        )
