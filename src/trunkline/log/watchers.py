"""The functions that want to hear of news: called on the event loop, coalesced, never raising."""

from __future__ import annotations

import asyncio
import logging

from trunkline.log.port import Cancel, Wake

logger = logging.getLogger(__name__)


class Watchers:
    """Wake whoever watches a log.

    A wake-up is put on the loop, so that whoever appended goes on first, and any number of them
    before the loop comes round count as one.
    """

    def __init__(self) -> None:
        self._wakes: dict[object, Wake] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_due = False

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Choose the loop that wake-ups are called on."""
        self._loop = loop
        self._is_due = False

    def add(self, wake: Wake) -> Cancel:
        """Begin to call *wake*; the returned function ends it."""
        ticket = object()
        self._wakes[ticket] = wake
        return lambda: void(self._wakes.pop(ticket, None))

    def __bool__(self) -> bool:
        return bool(self._wakes)

    def clear(self) -> None:
        """Forget every watcher."""
        self._wakes.clear()
        self._loop = None

    def wake(self) -> None:
        """Wake everybody soon. Call it on the loop."""
        if self._wakes and not self._is_due and self._loop is not None:
            self._is_due = True
            self._loop.call_soon(self.wake_now)

    def wake_now(self) -> None:
        """Wake everybody at once. Call it on the loop."""
        self._is_due = False
        for wake in list(self._wakes.values()):
            try:
                wake()
            except Exception:
                logger.exception("a watcher of the log failed; the others go on")


def void(_: object) -> None:
    """Return nothing, whatever was given."""
