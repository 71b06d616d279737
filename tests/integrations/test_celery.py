"""Celery: prefork workers share a line used before, and handlers run as tasks."""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integrations.orders import EXAMPLES
from trunkline.errors import ConfigError
from trunkline.integrations.celery import LineTasks

SECONDS = 60
WORKER = (
    "worker",
    "--pool=prefork",
    "--concurrency=2",
    "--without-mingle",
    "--without-gossip",
    "--loglevel=INFO",
)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import the shop here, and run Celery's workers for it."""
    for name in ("queue", "control"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("SHOP_FOLDER", str(tmp_path))
    sys.modules.pop("tests.integrations.celery_shop", None)
    shop = importlib.import_module("tests.integrations.celery_shop")
    command = [sys.executable, "-m", "celery", "-A", "tests.integrations.celery_shop:queue"]
    with (tmp_path / "log").open("w") as log:
        celery = subprocess.Popen([*command, *WORKER], stdout=log, stderr=log)
        try:
            yield shop
        finally:
            shop.line.close()
            celery.terminate()
            celery.wait(SECONDS)


def taken(line: Any, channel: str, count: int, folder: Path) -> list[Any]:
    """Return the data of the first messages of a channel, as they come."""
    with line.subscribe(channel, after=0) as messages:
        patience = threading.Timer(SECONDS, messages.close)
        patience.start()
        found = [message.data for _, message in zip(range(count), messages, strict=False)]
        patience.cancel()
    assert len(found) == count, (found, (folder / "log").read_text())
    return found


def test_prefork_workers_publish_on_a_line_used_before_the_fork(shop: Any, tmp_path: Path) -> None:
    for number in range(40):
        shop.work.delay(number)
    done = taken(shop.line, "/done", 40, tmp_path)
    assert sorted(number for _, number in done) == list(range(40))
    assert [one.message_id for one in shop.line.backlog("/done")] == list(range(1, 41))
    assert shop.heard.count(0) >= 1


def test_an_eventual_processor_runs_as_a_task_and_its_commands_too(
    shop: Any, tmp_path: Path
) -> None:
    shop.line.open()
    shop.line.start_services()
    shop.line.send(shop.Open("ann"), key="ann")
    with shop.line.subscribe("/stream/**", position="0") as events:
        patience = threading.Timer(SECONDS, events.close)
        patience.start()
        names = [message.headers["name"] for _, message in zip(range(2), events, strict=False)]
        patience.cancel()
    wanted = ["account.ann.opened", "account.ann.greeted"]
    assert names == wanted, (tmp_path / "log").read_text()


def test_the_example_runs_by_one_command() -> None:
    command = [sys.executable, "app.py", "3"]
    done = subprocess.run(
        command, cwd=EXAMPLES / "celery", capture_output=True, text=True, timeout=90, check=True
    )
    printed = sorted(one for one in done.stdout.splitlines() if one.startswith("order"))
    assert printed == [f"order {number} is confirmed" for number in range(3)], done.stderr


def test_a_handler_that_can_be_no_task_is_told() -> None:
    tasks = LineTasks(None, None)

    async def awaits(message: Any) -> None: ...

    for one in (awaits, lambda message: None, lambda message, tx: None):
        with pytest.raises(ConfigError, match="can't be a task"):
            tasks.handler(one)
