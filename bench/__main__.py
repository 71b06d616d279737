"""``make bench``: measure every row, print it, and write RESULTS.md and results.json.

``--only NAME`` measures some groups and leaves the other rows of results.json as they are;
``--quick`` measures once and briefly, to see whether it works, and writes nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator

from bench import (
    after,
    commands,
    consuming,
    entities,
    fanout,
    guests,
    holding,
    on_nats,
    on_postgres,
    on_redis,
    overload,
    publishing,
    report,
    sharing,
    waking,
    webhooks,
)
from bench.figures import Figure, Plan
from bench.machine import describe, raise_file_limit

GROUPS: dict[str, Callable[[Plan], Iterator[Figure]]] = {
    "publish": publishing.measure,
    "fanout": fanout.measure,
    "holding": holding.measure,
    "overload": overload.measure,
    "processes": sharing.measure,
    "postgres": on_postgres.measure,
    "redis": on_redis.measure,
    "nats": on_nats.measure,
    "waking": waking.measure,
    "guests": guests.measure,
    "consumer": consuming.measure,
    "commands": commands.measure,
    "after": after.measure,
    "entities": entities.measure,
    "webhooks": webhooks.measure,
}


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=GROUPS, metavar="NAME", help=", ".join(GROUPS)
    )
    parser.add_argument("--quick", action="store_true", help="once and briefly; write nothing")
    parser.add_argument("--runs", type=int, default=3, help="runs of each measurement (3)")
    given = parser.parse_args()
    crowd = min(5000, raise_file_limit())
    plan = Plan(runs=1, effort=0.2, crowd=crowd) if given.quick else Plan(given.runs, 1.0, crowd)
    about = describe()
    began = time.monotonic()
    figures: list[Figure] = []
    for name in given.only or GROUPS:
        print(f"bench: {name}", file=sys.stderr, flush=True)
        for figure in GROUPS[name](plan):
            print(report.line_of(figure.as_dict()), flush=True)
            figures.append(figure)
    print(f"bench: measured in {time.monotonic() - began:.0f} s", file=sys.stderr)
    about["load"] += f", {os.getloadavg()[0]:.1f} after the last"
    if not given.quick:
        report.write(about, plan, figures)
        print(f"bench: written to {report.PAGE.relative_to(report.PAGE.parent.parent)}")


if __name__ == "__main__":
    main()
