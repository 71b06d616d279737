"""A process of guests: synchronous code that publishes inside transactions of its own.

It says a line when it has begun, and ends with its input. The line is not open here; who relays
is a worker.
"""

from __future__ import annotations

import argparse
import json
import random
import select
import sqlite3
import sys
import time
from typing import Any

import psycopg

from bench.servers.control import text
from bench.servers.listener import CHANNEL
from trunkline import Trunkline

SQLITE = "sqlite:///"
#: Seconds in which what guests committed is relayed, and before the next ones begin.
SETTLING = 0.1


def connect(url: str) -> Any:
    """Connect to a guest's database."""
    if url.startswith(SQLITE):
        return sqlite3.connect(url.removeprefix(SQLITE))
    return psycopg.connect(url)


def has_ended(within: float) -> bool:
    """Wait, and tell whether the input has ended."""
    return bool(select.select([sys.stdin], [], [], within)[0])


def hold(line: Trunkline, guests: list[Any], seconds: float) -> list[tuple[float, float]]:
    """Keep a transaction of each guest open with a message in it, and none for as long, by turns.

    Returns:
        When all were open, and none had begun to commit.
    """
    spans: list[tuple[float, float]] = []
    while True:
        for guest in guests:
            line.publish_in(guest, "/bench/guests", text())
        began = time.perf_counter()
        is_over = has_ended(seconds)
        spans.append((began, time.perf_counter()))
        for guest in guests:
            guest.commit()
        if is_over or has_ended(seconds + 2 * SETTLING):
            return spans


def trickle(line: Trunkline, guest: Any) -> None:
    """Commit a message now and then; its time is that of the moment before the publish."""
    chance = random.Random(7)
    while not has_ended(chance.uniform(0.05, 0.15)):
        line.publish_in(guest, CHANNEL, text())
        guest.commit()


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", required=True, help="the line's URL")
    parser.add_argument("--guest", action="append", required=True, help="a guest's database")
    parser.add_argument("--hold", type=float, help="seconds that transactions stay open")
    given = parser.parse_args()
    line = Trunkline(given.log, services="off")
    if given.guest[0].startswith(SQLITE):
        for url in given.guest:
            line.attach_outbox(url)
    guests = [connect(url) for url in given.guest]
    print("ready", flush=True)
    spans: list[tuple[float, float]] = []
    if given.hold:
        spans = hold(line, guests, given.hold)
    else:
        trickle(line, guests[0])
    for guest in guests:
        guest.close()
    print(json.dumps({"open": spans}))


if __name__ == "__main__":
    main()
