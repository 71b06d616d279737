"""Celery carries signals: a task resolves them, another one sends each transmission."""

from __future__ import annotations

import importlib
import signal
import subprocess
import sys

from tests.store.databases import until
from tests.webhooks.school import installed

SECONDS = 60


async def test_a_signal_is_resolved_and_sent_by_tasks(ground, tmp_path, monkeypatch):
    for name in ("queue", "control"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOST_FOLDER", str(tmp_path))
    monkeypatch.setenv("HOST_LOG", ground.url)
    sys.modules.pop("tests.webhooks.celery_host", None)
    host = importlib.import_module("tests.webhooks.celery_host")
    await host.line.open(run_consumers=True)
    command = (sys.executable, "-m", "celery", "-A", "tests.webhooks.celery_host:queue")
    options = ("worker", "--pool=solo", "--concurrency=1", "--without-mingle", "--without-gossip")
    log = (tmp_path / "log").open("w")
    worker = subprocess.Popen([*command, *options], stdout=log, stderr=log)  # noqa: ASYNC220
    try:
        await installed(host.line, 1, signals=["page"])
        await installed(host.line, 2, signals=["page"])
        await host.line.signal(host.PageSignal("p", account_id=1), "seen", context={"n": [1]})
        sent = tmp_path / "sent"

        async def is_sent() -> bool:
            assert worker.poll() is None, (tmp_path / "log").read_text()
            return sent.exists() and sent.read_text().endswith("\n")

        await until(is_sent)
        [one] = await host.line.transmissions.list()
        assert sent.read_text() == f"{one.id}\n"
        assert one.context == {"n": [1]}
        assert one.due_at > one.created_at + 30  # until then the worker leaves it to the task
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(SECONDS)
        log.close()
        await host.line.close()
