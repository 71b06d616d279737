"""Celery as the carrier of webhooks: both steps become tasks, whose one argument is JSON.

Celery itself is not imported: the application's own app is given.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from trunkline.runtime.portal import Portal
from trunkline.webhooks.demuxer import JobDemuxer
from trunkline.webhooks.face import WebhooksFace

TASK = "trunkline.webhooks"

#: Options of a task that is done at least once, however long that takes.
PERSISTENT: Final[Mapping[str, Any]] = {
    "acks_late": True,
    "autoretry_for": (Exception,),
    "retry_backoff": True,
    "retry_backoff_max": 600,
    "max_retries": None,
    "ignore_result": True,
    "serializer": "json",
}


class CeleryApp(Protocol):
    """Be what is needed of a Celery application."""

    def task(self, *args: Any, **options: Any) -> Any:
        """Register a task."""

    def send_task(self, name: str, args: Any = None, **options: Any) -> Any:
        """Send a task by its name."""


def celery_demuxer(
    app: CeleryApp,
    line: Callable[[], WebhooksFace],
    *,
    name: str = TASK,
    do: Callable[[dict[str, Any]], None] | None = None,
) -> type[JobDemuxer]:
    """Return a demuxer that leaves signals to Celery, and register its task.

    Args:
        app: The Celery application.
        line: Returns the line, in a Celery worker too. It is opened there in a thread of its
            own, at the first task of each process.
        name: The task's name.
        do: Does a job where the task runs, by its own means instead of such a thread.

    Returns:
        A class for the settings (``webhooks={"demuxer": …}``) or for a signal's ``demuxer``.
    """
    # A job that fails is tried again for as long as it takes: it is all there is of a signal.
    app.task(do or _Works(line).do, name=name, **PERSISTENT)

    class CeleryDemuxer(JobDemuxer):
        """Leave signals to Celery."""

        async def enqueue(self, job: dict[str, Any]) -> None:
            """Send a task; its broker is waited for in a thread."""
            await asyncio.to_thread(app.send_task, name, [job], serializer="json")

    return CeleryDemuxer


class _Works:
    """Do jobs in this process, whoever forked it."""

    def __init__(self, line: Callable[[], WebhooksFace]) -> None:
        self._line = line
        self._portal: Portal | None = None
        self._process = 0

    def do(self, job: dict[str, Any]) -> None:
        if self._portal is None or self._process != os.getpid():
            self._portal, self._process = Portal("trunkline webhooks"), os.getpid()
        self._portal.call(self._line().webhooks.work, job)
