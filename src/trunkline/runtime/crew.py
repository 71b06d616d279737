"""The background work of something that opens and closes, owned by one task."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from trunkline.errors import LineClosedError

logger = logging.getLogger(__name__)

#: Seconds that cancelled work has to end.
PATIENCE = 5.0

Work = Callable[[], Awaitable[object]]


class Crew:
    """Run background work in a task group that one task owns, from open to close.

    Work that raises is reported and ends alone; whoever must go on is wrapped in
    :func:`trunkline.runtime.loops.supervise`. Belongs to the event loop that opened it.

    Args:
        name: Names the owner's task, for debuggers.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._group: asyncio.TaskGroup | None = None
        self._members: set[asyncio.Task[None]] = set()
        self._finishing: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._owner: asyncio.Task[None] | None = None
        self._spared: asyncio.Task[Any] | None = None

    async def open(self) -> None:
        """Start the owner; returns when :meth:`start` may be called."""
        up = asyncio.Event()
        self._owner = asyncio.create_task(self._own(up), name=self._name)
        await up.wait()

    def start(self, name: str, work: Work, *, finishes: bool = False) -> None:
        """Run *work* until it returns or the crew closes.

        Args:
            name: Names the work in log lines.
            work: A coroutine function without arguments.
            finishes: Whether it ends by itself when told, so that closing may wait for it.

        Raises:
            LineClosedError: The crew is not open.
        """
        if self._group is None or self._stop.is_set():
            raise LineClosedError(f"{self._name} is not open: no background work")
        task = self._group.create_task(_guarded(name, work), name=f"{self._name}: {name}")
        self._members.add(task)
        task.add_done_callback(self._members.discard)
        if finishes:
            self._finishing.add(task)
            task.add_done_callback(self._finishing.discard)

    async def close(self, *, grace: float = 0.0) -> None:
        """Give work that finishes *grace* seconds to do so, cancel the rest and wait for it.

        Work that refuses to be cancelled is reported and left, so that closing never hangs. A
        member may close its own crew: it is neither waited for nor cancelled.

        Args:
            grace: Seconds.
        """
        if self._owner is None:
            return
        me = asyncio.current_task()
        others = {task for task in self._members if task is not me}
        self._spared = me
        try:
            if grace and (finishing := others & self._finishing):
                await asyncio.wait(finishing, timeout=grace)
        finally:  # also when whoever closes is cancelled: nobody else would end them
            self._stop.set()
        if others:
            await asyncio.wait(others, timeout=max(grace, PATIENCE))
        if late := sorted(task.get_name() for task in others if not task.done()):
            logger.error("%s: work does not end: %s", self._name, ", ".join(late))
        elif me not in self._members:
            await asyncio.wait((self._owner,))

    async def _own(self, up: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            up.set()
            try:
                await self._stop.wait()
            finally:
                self._stop.set()
                for task in tuple(self._members):
                    if task is not self._spared:
                        task.cancel()


async def _guarded(name: str, work: Work) -> None:
    try:
        await work()
    except Exception:
        logger.exception("%s failed", name)
