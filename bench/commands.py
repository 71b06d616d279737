"""Commands beside the package ``eventsourcing`` from PyPI, both durable, by turns."""

from __future__ import annotations

from collections.abc import Iterator

from bench import engines
from bench.figures import Figure, Plan
from bench.programs import Told, run

PEER = "eventsourcing: get, event, save"
#: What must be reached, in units of the peer with one caller; of its bulk save for the last.
TARGETS = {
    "sqlite": {"1": 1.0, "64": 7.0, "bulk": 1.5},
    "postgres": {"1": 2.0, "64": 10.0, "bulk": 1.5},
}
NAMES = {
    "1": "command cycle with a strong projector, one caller",
    "64": "command cycle with a strong projector, 64 callers",
    "bulk": "100 events per command",
}


def measure(plan: Plan) -> Iterator[Figure]:
    """Measure each database, ours and the peer by turns."""
    for engine, targets in TARGETS.items():
        ours: list[Told] = []
        peers: list[Told] = []
        for _ in range(plan.runs):
            peers.append(peer(engine, plan.seconds(3)))
            with engines.line(engine) as url:
                words = [word for what in targets for word in ("--what", what)]
                words += ["--log", url, "--seconds", str(plan.seconds(3))]
                ours.append(run("bench.servers.commander", *words, seconds=30))
        for what, least in targets.items():
            yield Figure(
                row="commands",
                name=f"{NAMES[what]}, {engine}",
                unit="events/s" if what == "bulk" else "/s",
                runs=[one[what] for one in ours],
                peer="eventsourcing: bulk save" if what == "bulk" else PEER,
                peer_runs=[one["bulk" if what == "bulk" else "cycle"] for one in peers],
                target=f"≥ {least:g}×",
                is_ratio=True,
                at_least=least,
                note="the peer runs no projector" if what != "bulk" else "",
            )


def peer(engine: str, seconds: float) -> Told:
    """Run the peer on a database of its own."""
    with engines.line(engine) as url:
        return run(
            "bench.peers.event_sourcing", "--log", url, "--seconds", str(seconds), seconds=30
        )
