"""The same cycle in the package ``eventsourcing``: get, one event, save; it runs no projector."""

from __future__ import annotations

import argparse
import json
import time
from urllib.parse import parse_qs, unquote, urlsplit

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

AGGREGATES = 1000
HISTORY = 10
BULK = 100
TEXT = "x" * 180


class Account(Aggregate):
    """Be an account."""

    def __init__(self) -> None:
        self.balance = 0

    @event("Deposited")
    def deposit(self, amount: int, text: str) -> None:
        """Take some money."""
        del text
        self.balance += amount


def environment(url: str) -> dict[str, str]:
    """Return the settings that the package takes."""
    if url.startswith("sqlite"):
        path = url.removeprefix("sqlite:///")
        return {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": path}
    parts = urlsplit(url)
    host = parse_qs(parts.query).get("host", [parts.hostname or "127.0.0.1"])[0]
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": parts.path.strip("/"),
        "POSTGRES_HOST": unquote(host),
        "POSTGRES_PORT": str(parts.port or 5432),
        "POSTGRES_USER": unquote(parts.username or "postgres"),
        "POSTGRES_PASSWORD": unquote(parts.password or "none"),
    }


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    app = Application(env=environment(given.log))
    accounts = []
    for _ in range(AGGREGATES // 4):
        account = Account()
        for _ in range(HISTORY - 1):
            account.deposit(1, TEXT)
        app.save(account)
        accounts.append(account.id)
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < given.seconds:
        account = app.repository.get(accounts[count % len(accounts)])
        account.deposit(1, TEXT)
        app.save(account)
        count += 1
    cycle = count / (time.perf_counter() - began)
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < given.seconds:
        account = Account()
        for _ in range(BULK - 1):
            account.deposit(1, TEXT)
        app.save(account)
        count += 1
    bulk = BULK * count / (time.perf_counter() - began)
    app.close()
    print(json.dumps({"cycle": cycle, "bulk": bulk}))


if __name__ == "__main__":
    main()
