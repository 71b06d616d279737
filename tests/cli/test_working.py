"""Workers and migrations from the command line."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import time

import pytest

from tests.cli.conftest import Shell
from trunkline import Trunkline

SHOP = """
from trunkline import Trunkline

line = Trunkline("sqlite:///line.db", outboxes=["sqlite:///guest.db"], profiles={"own": ["relay"]})
app = line.gateway(open=True)
nothing = 7
"""


@pytest.fixture
def shop(shell: Shell) -> Shell:
    (shell.folder / "shop.py").write_text(SHOP)
    return shell


def publish(shop: Shell, number: int, file: str = "guest.db") -> None:
    line = Trunkline("memory://", outboxes=[f"sqlite:///{shop.folder}/{file}"])
    connection = sqlite3.connect(shop.folder / file, timeout=20)
    with connection:
        line.publish_in(connection, "/a", number)
    connection.close()


def arrives(shop: Shell, count: int) -> list[str]:
    deadline = time.monotonic() + 20
    while True:
        found = shop.out("backlog", "/a", "--log", "sqlite:///line.db").splitlines()
        if len(found) >= count or time.monotonic() > deadline:
            return found


def started(shop: Shell, *arguments: str) -> subprocess.Popen[bytes]:
    process = shop.start(*arguments)
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def ended(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> tuple[int, str]:
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    return process.returncode, err.decode()


def test_a_worker_relays_and_drains_on_a_signal(shop):
    shop.run("migrate", "shop:line")
    publish(shop, 1)
    process = started(shop, "worker", "shop:line")
    assert arrives(shop, 1) == ["1\t1"]
    publish(shop, 2)
    assert arrives(shop, 2) == ["1\t1", "2\t2"]
    assert ended(process) == (0, "")


def test_a_worker_that_ends_leaves_the_work_to_another(shop):
    shop.run("migrate", "shop:line")
    first, second = (started(shop, "worker", "shop:line") for _ in range(2))
    publish(shop, 1)
    assert len(arrives(shop, 1)) == 1
    assert ended(first, signal.SIGINT)[0] == 0
    publish(shop, 2)
    assert len(arrives(shop, 2)) == 2
    assert ended(second)[0] == 0


def test_a_profile_chooses_what_runs(shop):
    process = shop.start("worker", "shop:line", "--profile", "own")
    assert process.stdout is not None
    assert process.stdout.readline() == b"working: relay\n"
    assert ended(process)[0] == 0
    done = shop.run("worker", "shop:line", "--profile", "other", status=2)
    assert "no profile 'other': profiles= has own" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("worker", "shop:nothing"), "is no Trunkline, but a int"),
        (("worker", "shop:missing"), "has no 'missing'"),
        (("worker", "--log", "memory://"), "nothing to run"),
        (("migrate", "--check", "--sql"), "one of --check and --sql"),
    ],
)
def test_what_cannot_be_run_is_told_in_a_line(shop, arguments, words):
    done = shop.run(*arguments, status=2)
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_serving_can_work_too(shop):
    shop.run("migrate", "shop:line")
    process = started(shop, "serve", "shop:app", "--port", "0", "--worker")
    publish(shop, 1)
    assert arrives(shop, 1) == ["1\t1"]
    ended(process)


def test_migrate_looks_first_and_changes_only_when_asked(shop):
    done = shop.run("migrate", "shop:line", "--check", status=1)
    assert "missing: log 1 line" in done.stdout
    assert "missing: outbox 1 outbox" in done.stdout
    assert not list(shop.folder.glob("*.db"))
    assert "ran: store 1 outbox" in shop.out("migrate", "shop:line")
    assert shop.out("migrate", "shop:line", "--check") == "everything is up to date\n"
    assert shop.out("migrate", "shop:line") == "everything is up to date\n"


def test_the_printed_statements_make_what_a_line_needs(shop):
    script = shop.out("migrate", "--log", "sqlite:///line.db", "--sql")
    connection = sqlite3.connect(shop.folder / "line.db")
    connection.executescript(script)
    connection.close()
    assert shop.out("migrate", "--log", "sqlite:///line.db", "--check").startswith("everything")
    assert shop.out("publish", "/a", "1", "--log", "sqlite:///line.db").startswith("published")
