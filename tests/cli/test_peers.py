"""``trunkline peers``, ``subscriptions`` and ``register``: operators see who tells whom."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Shell

SHOP = """
from trunkline import Trunkline

line = Trunkline("sqlite:///shop.db", webhooks={
    "services": {"callback_url": "http://127.0.0.1:8009/cb"},
    "delivery": {"http": True, "networks": ["127.0.0.0/8"]},
})
for name in ("one", "two"):
    line.siblings.source(
        name, subscription_url="http://127.0.0.1:8009/", channel_prefix=f"org.{name}."
    )
    line.siblings.subscribe(name, "a", lambda event: None)
"""


@pytest.fixture
def host(shell: Shell) -> Shell:
    shell.environ["TRUNKLINE_LOG"] = "sqlite:///host.db"
    return shell


def test_a_peer_is_added_shown_and_removed(host: Shell) -> None:
    given = json.loads(host.out("peers", "add", "shop", "--channel", "org.example.**"))
    assert given["name"] == "shop"
    [one] = host.objects("peers", "list")
    assert (one["channels"], one["has_password"]) == (["org.example.**"], True)
    table = host.out("peers", "list")
    assert given["password"] not in table
    assert given["secret"] not in table
    assert host.out("subscriptions", "list", "--json") == ""
    assert host.out("peers", "remove", "shop") == "shop: removed\n"
    host.run("peers", "remove", "shop", status=1)
    host.run("peers", "add", "a b", status=2)
    host.run("subscriptions", "remove", "a", "http://b/", status=1)


def test_a_peers_secret_is_rotated_and_taken_over(host: Shell) -> None:
    given = json.loads(host.out("peers", "add", "shop"))
    new = host.out("peers", "rotate", "shop", "--grace", "1h").split()[-1]
    assert new.startswith("whsec_")
    assert new != given["secret"]
    (host.folder / "secret").write_text(f"{given['secret']}\n")
    taken = host.out("peers", "rotate", "shop", "--secret", "secret", "--grace", "0").split()[-1]
    assert taken == given["secret"]
    host.run("peers", "rotate", "nobody", status=1)
    host.run("peers", "rotate", "shop", "--secret", "missing", status=2)


def test_registering_tells_of_each_source_and_fails_when_one_does(host: Shell) -> None:
    (host.folder / "shop.py").write_text(SHOP)
    done = host.run("register", "shop:line", status=1)
    assert "one     org.one.a" in done.stdout
    assert "two     org.two.a" in done.stdout
    assert "2 of 2 registrations failed" in done.stderr
