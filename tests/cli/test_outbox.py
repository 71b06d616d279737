"""``trunkline outbox``, and what the doctor says of a store: what waits, who works or is stuck."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing

import pytest

from tests.cli.conftest import Shell
from tests.cli.test_consumers import publish, shop  # noqa: F401 - a fixture


def leave(shell: Shell, *sealed: bytes) -> None:
    """Leave rows in the outbox, as a guest's transaction does."""
    shell.run("publish", "/a", "x")  # makes the tables
    with closing(sqlite3.connect(shell.folder / "trunkline.db")) as connection, connection:
        rows = [(str(number), one) for number, one in enumerate(sealed)]
        connection.executemany("INSERT INTO trunkline_outbox (token, draft) VALUES (?, ?)", rows)


def park(shell: Shell, *errors: str) -> None:
    shell.run("publish", "/a", "x")
    with closing(sqlite3.connect(shell.folder / "trunkline.db")) as connection, connection:
        rows = [(number, b"none", one, 1.0) for number, one in enumerate(errors, 1)]
        connection.executemany("INSERT INTO trunkline_parked VALUES (?, ?, ?, ?)", rows)


def findings(shell: Shell, status: int = 0) -> Mapping[str, Mapping[str, str]]:
    done = shell.run("doctor", "--json", status=status)
    return {one["subject"]: one for one in json.loads(done.stdout)}


def test_parked_messages_are_listed_sent_again_and_dropped(shell: Shell) -> None:
    park(shell, "too large", "no message", "no message")
    table = shell.out("outbox", "list").splitlines()
    assert table[0].split() == ["number", "since", "channel", "error"]
    assert "too large" in table[1]
    assert [one["number"] for one in shell.objects("outbox", "list", "--limit", "2")] == [1, 2]
    assert shell.out("outbox", "drop", "2") == "1 dropped\n"
    assert shell.out("outbox", "retry", "1", "--json") == '{"sent_again": 1}\n'
    with closing(sqlite3.connect(shell.folder / "trunkline.db")) as connection:
        assert connection.execute("SELECT draft FROM trunkline_outbox").fetchall() == [(b"none",)]
    assert "1 dropped" in shell.out("outbox", "drop", "--all")
    assert shell.objects("outbox", "list") == []


def test_what_was_said_wrongly_is_told(shell: Shell) -> None:
    park(shell, "too large")
    assert "--all" in shell.run("outbox", "retry", status=2).stderr
    assert "--all" in shell.run("outbox", "drop", "1", "--all", status=2).stderr
    assert "not there" in shell.run("outbox", "drop", "7", status=1).stderr
    assert "1 to 1" in shell.run("outbox", "list", "--outbox", "2", status=2).stderr
    given = ("outbox", "list", "--log", "memory://")
    assert "has none" in shell.run(*given, status=2).stderr


def test_the_doctor_finds_a_store_at_rest_well(shell: Shell) -> None:
    shell.run("publish", "/a", "x")
    found = findings(shell)
    assert found["outbox"]["level"] == found["outbox, parked"]["level"] == "ok"
    assert not any(subject.startswith(("lease", "consumer")) for subject in found)


def test_the_doctor_says_that_rows_wait_and_who_holds_a_lease_in_vain(shell: Shell) -> None:
    leave(shell, b"1", b"2")
    park(shell, "too large")
    with closing(sqlite3.connect(shell.folder / "trunkline.db")) as connection, connection:
        connection.execute("INSERT INTO trunkline_lease VALUES ('relay', 3, 5, 'gone:1')")
    found = findings(shell)
    assert found["outbox"]["level"] == found["lease relay"]["level"] == "warn"
    assert "2 rows wait" in found["outbox"]["detail"]
    assert "did not move" in found["outbox"]["detail"]
    assert "trunkline worker" in found["outbox"]["fix"]
    assert "gone:1" in found["lease relay"]["detail"]
    assert "too large" in found["outbox, parked"]["detail"]
    assert "trunkline outbox list" in found["outbox, parked"]["fix"]


@pytest.mark.parametrize(
    ("status", "level", "word"),
    [
        ("running", "warn", "nobody runs it"),
        ("paused", "warn", "paused"),
        ("stopped", "fail", "gap"),
    ],
)
def test_the_doctor_says_how_consumers_are(
    shop: Shell,  # noqa: F811
    status: str,
    level: str,
    word: str,
) -> None:
    publish(shop, "/orders/1", "one", "two")
    worker = shop.start("worker", "shop:line")
    assert worker.stdout is not None
    for _ in range(3):
        worker.stdout.readline()
    worker.kill()
    worker.communicate()
    publish(shop, "/orders/1", "three")
    with closing(sqlite3.connect(shop.folder / "shop.db")) as connection, connection:
        connection.execute(
            "UPDATE trunkline_checkpoint SET status = ?, reason = 'a gap'", (status,)
        )
        connection.execute("UPDATE trunkline_lease SET holder = ''")
    found = findings(shop, status=int(level == "fail"))["consumer invoices"]
    assert found["level"] == level
    assert word in found["detail"]
    assert found["fix"]
