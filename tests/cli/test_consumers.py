"""``trunkline consumers``: an operator sees where consumers stand, and moves and mends them."""

from __future__ import annotations

import json
import signal
from textwrap import dedent

import pytest

from tests.cli.conftest import Shell

SHOP = dedent(
    """
    from trunkline import Trunkline
    from trunkline.channels.consumer import Retry

    line = Trunkline("sqlite:///shop.db")

    @line.consumer("invoices", "/orders/*", retry=Retry(1))
    async def write(message):
        if message.data == "bad":
            raise ValueError("cannot invoice this")
        print("invoiced", message.data, flush=True)
    """
)


@pytest.fixture
def shop(shell: Shell) -> Shell:
    (shell.folder / "shop.py").write_text(SHOP)
    shell.environ["TRUNKLINE_LOG"] = "sqlite:///shop.db"
    return shell


def publish(shop: Shell, channel: str, *orders: str) -> None:
    shop.run("publish", channel, "-", given="\n".join(orders))


def consumed(shop: Shell, *expected: str) -> None:
    """Run a worker until it has printed so much."""
    worker = shop.start("worker", "shop:line")
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"working: relay, consumer:invoices\n"
        for data in expected:
            assert worker.stdout.readline().decode() == f"invoiced {data}\n"
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=30)
    assert worker.returncode == 0


def test_a_worker_consumes_and_operators_look_after_it(shop: Shell) -> None:
    publish(shop, "/orders/1", "bad", "behind")
    publish(shop, "/orders/2", "one", "two")
    consumed(shop, "one", "two")
    table = shop.out("consumers", "list").splitlines()
    assert table[0].split() == ["consumer", "status", "behind", "parked", "holder", "channels"]
    assert table[1].split() == ["invoices", "running", "0", "2", "-", "/orders/*"]
    bad, behind = shop.objects("consumers", "parked", "invoices")
    assert (bad["state"], bad["attempts"], bad["data"]) == ("parked", 1, "bad")
    assert bad["error"] == "ValueError: cannot invoice this"
    assert (behind["state"], behind["key"], behind["data"]) == ("behind", "/orders/1", "behind")
    assert shop.out("consumers", "skip", "invoices", str(bad["number"])) == "invoices: skipped 1\n"
    (left,) = shop.objects("consumers", "parked", "invoices")
    assert (left["number"], left["state"]) == (behind["number"], "retrying")
    consumed(shop, "behind")


def test_pause_resume_seek_and_forget(shop: Shell) -> None:
    publish(shop, "/orders/1", "one", "two")
    consumed(shop, "one", "two")
    assert shop.out("consumers", "pause", "invoices", "--reason", "night") == "invoices: paused\n"
    told = json.loads(shop.out("consumers", "show", "invoices", "--json"))
    assert (told["status"], told["reason"], told["gaps"]) == ("paused", "night", [])
    assert shop.out("consumers", "seek", "invoices", "oldest").startswith("invoices: position ")
    assert shop.out("consumers", "lag", "invoices").startswith("2 messages, the oldest ")
    assert shop.out("consumers", "resume", "invoices", "--json") == (
        '{"name": "invoices", "running": true}\n'
    )
    assert shop.out("consumers", "forget", "invoices") == "invoices: forgotten\n"


def test_what_was_said_wrongly_is_told(shop: Shell) -> None:
    assert "no consumer 'x'" in shop.run("consumers", "show", "x", status=1).stderr
    publish(shop, "/orders/1", "one")
    consumed(shop, "one")
    assert "--all" in shop.run("consumers", "skip", "invoices", status=2).stderr
    wrong = shop.run("consumers", "seek", "invoices", "yesterday", status=1).stderr
    assert "'yesterday' is no position" in wrong
    memory = shop.run("consumers", "list", status=2, TRUNKLINE_LOG="memory://").stderr
    assert "keep their checkpoints in a SQL database" in memory
    # A line may be named, which keeps its store elsewhere than the settings say.
    given = ("consumers", "list", "--json", "--line", "shop:line")
    assert "invoices" in shop.out(*given, TRUNKLINE_LOG="sqlite:///other.db")
    assert not (shop.folder / "other.db").exists()
