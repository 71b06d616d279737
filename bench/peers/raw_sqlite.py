"""The simplest durable log: one table, one insert and one commit per message, no asyncio.

Same library, same disk, same settings (write-ahead log, ``synchronous=FULL``), same payload. It
keeps no ids per channel, trims nothing and wakes nobody.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import time

from bench.servers.control import text

CHANNELS = 100


def main() -> None:
    """Insert for some seconds and tell the rate."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--file", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    connection = sqlite3.connect(given.file, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(
        "CREATE TABLE message (id INTEGER PRIMARY KEY, channel TEXT, published_at REAL, data TEXT)"
    )
    insert = "INSERT INTO message (channel, published_at, data) VALUES (?, ?, ?)"
    count = 0
    busy, began = time.process_time(), time.perf_counter()
    while (elapsed := time.perf_counter() - began) < given.seconds:
        channel = f"/bench/{count % CHANNELS:03d}"
        connection.execute(insert, (channel, time.time(), text()))  # without BEGIN: it commits
        count += 1
    busy = time.process_time() - busy
    print(json.dumps({"rate": count / elapsed, "busy_us": busy * 1e6 / count}))


if __name__ == "__main__":
    main()
