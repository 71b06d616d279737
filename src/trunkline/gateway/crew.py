"""The gateway's own tasks: started for one piece of work, owned until they end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

logger = logging.getLogger("trunkline.gateway")


class Crew:
    """Run pieces of work that belong to no request, and end them all at the close.

    A task group cannot do it: connections outlive the requests that opened them, and under a
    server without lifespan events nothing encloses them all.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run *work*; a failure is told in the log.

        Args:
            name: Names it there.
            work: A coroutine, not yet running.
        """
        task = asyncio.get_running_loop().create_task(work, name=f"trunkline: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._on_done)

    async def close(self) -> None:
        """Cancel what runs, and wait for its end."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s failed", task.get_name(), exc_info=error)
