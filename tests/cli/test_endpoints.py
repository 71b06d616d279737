"""``trunkline endpoints``: operators see how receivers fare, and have things sent again."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Shell


@pytest.fixture
def host(shell: Shell) -> Shell:
    shell.environ["TRUNKLINE_LOG"] = "sqlite:///host.db"
    shell.run("apps", "create", "Quiz", "--signal", "lesson", "--signal-url", "https://a.example/")
    return shell


def test_endpoints_are_listed_disabled_and_enabled(host: Shell) -> None:
    [found] = host.objects("endpoints", "list")
    assert (found["state"], found["waiting"], found["success_rate"]) == ("enabled", 0, None)
    ident = found["id"]
    assert host.out("endpoints", "disable", ident, "--reason", "tidy") == f"{ident}: disabled\n"
    assert "tidy" in host.out("endpoints", "show", ident)
    host.run("endpoints", "enable", ident)
    table = host.out("endpoints", "list")
    assert table.split()[:3] == ["endpoint", "state", "waiting"]
    assert "enabled" in table


def test_recoveries_are_begun_listed_and_cancelled(host: Shell) -> None:
    [found] = host.objects("endpoints", "list")
    [begun] = host.objects("endpoints", "recover", found["id"], "--since", "2d")
    assert (begun["kind"], begun["state"]) == ("recover", "running")
    host.run("endpoints", "cancel", begun["id"])
    [listed] = host.objects("endpoints", "recoveries")
    assert listed["state"] == "cancelled"
    assert host.out("endpoints", "replay", found["id"]).splitlines()[1].split()[1] == "replay"


def test_metrics_are_prometheus_text(host: Shell) -> None:
    [found] = host.objects("endpoints", "list")
    lines = host.out("endpoints", "metrics").splitlines()
    assert f'trunkline_webhooks_enabled{{endpoint="{found["id"]}"}} 1' in lines
    assert f'trunkline_webhooks_waiting{{endpoint="{found["id"]}"}} 0' in lines


def test_what_is_not_there_is_told_in_one_line(host: Shell) -> None:
    for words in (("show", "x"), ("resend", "x"), ("cancel", "x"), ("enable", "x")):
        ended = host.run("endpoints", *words, status=1)
        assert "'x'" in ended.stderr
        assert "Traceback" not in ended.stderr
