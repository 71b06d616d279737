"""``trunkline apps``, ``connections``, ``transmissions``: operators see and change them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.cli.conftest import Shell


@pytest.fixture
def host(shell: Shell) -> Shell:
    shell.environ["TRUNKLINE_LOG"] = "sqlite:///host.db"
    return shell


def test_an_app_is_made_installed_approved_and_removed(host: Shell) -> None:
    host.run("apps", "create", "Quiz", "--indicator", "quiz", "--signal", "lesson")
    host.run("apps", "update", "quiz", "--signal-url", "https://quiz.example/hook")
    [app] = host.objects("apps", "list")
    assert (app["name"], app["signals"], app["endpoint_state"]) == ("Quiz", ["lesson"], "enabled")
    for account in ("7", '"7"'):
        host.run("connections", "connect", "quiz", account)
    found = host.objects("connections", "list")
    assert sorted(str(type(one["account_id"])) for one in found) == [str(int), str(str)]
    host.run("apps", "update", "quiz", "--signal", "lesson", "--signal", "user")
    [one] = host.objects("connections", "list", "--account", "7")
    assert (one["signals"], one["pending"]) == (["lesson"], ["user"])
    assert host.out("connections", "grant", one["id"]) == f"{one['id']}: granted lesson user\n"
    assert host.out("connections", "decline", one["id"], "user").endswith("granted lesson\n")
    assert host.out("apps", "grant-all", "quiz") == f"{app['id']}: changed 2\n"
    table = host.out("connections", "list", "--app", "quiz").splitlines()
    assert table[0].split() == ["connection", "app", "type", "account", "granted", "waiting"]
    host.run("connections", "disconnect", one["id"])
    assert len(host.objects("connections", "list")) == 1
    host.run("apps", "delete", "quiz")
    assert host.out("apps", "list", "--json") == ""


def test_secrets_are_masked_until_they_are_asked_for(host: Shell) -> None:
    host.run("apps", "create", "Quiz", "--indicator", "quiz")
    secret = host.out("apps", "reveal", "quiz").split()[-1]
    shown = host.out("apps", "show", "quiz") + host.out("apps", "show", "quiz", "--json")
    assert secret not in shown
    assert secret[-4:] in shown
    new = host.out("apps", "rotate", "quiz", "--grace", "1h").split()[-1]
    assert new.startswith("whsec_")
    assert new != secret
    assert "until" in host.out("apps", "show", "quiz")


def test_transmissions_are_listed_counted_and_purged(host: Shell) -> None:
    (host.folder / "host.py").write_text(
        """
import asyncio
from trunkline import Trunkline
from trunkline.webhooks.signal import Signal
line = Trunkline("sqlite:///host.db")

@line.webhooks.declare
class Page(Signal):
    signal_name = "page"
    def find(self, object_id): return object_id
    def payload(self): return {}

async def main():
    app = await line.apps.create("A", signals=["page"], signal_url="https://a.example/")
    await line.connections.connect(app.id, account_id=1)
    await line.open(run_consumers=True)
    await line.signal(Page("p", account_id=1), "seen", context={"a": 1})
    await line.consumers.caught_up("trunkline.signals")
    await line.close()

asyncio.run(main())
"""
    )
    subprocess.run([sys.executable, "host.py"], cwd=host.folder, timeout=60, check=True)
    [one] = host.objects("transmissions", "list")
    assert (one["signal_name"], one["object_id"], one["context"]) == ("page", "p", {"a": 1})
    assert one["id"] in host.out("transmissions", "list", "--state", "queued", "--account", "1")
    assert host.out("transmissions", "list", "--account", "2", "--json") == ""
    shown = host.objects("transmissions", "show", one["id"])[0]
    assert shown["tries"] == []
    assert "page" in host.out("transmissions", "show", one["id"])
    assert json.loads(host.out("transmissions", "counts", "--json"))["queued"] == 1
    purged = host.out("transmissions", "purge", "--older-than", "0s", "--dead")
    assert purged == "transmissions: purged 0\n"  # it is undelivered
    assert json.loads(host.out("transmissions", "counts", "--json"))["queued"] == 1
