"""A listener of synchronous code: its handler runs in a thread, and it goes on after a fork."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from trunkline.app import Trunkline
from trunkline.channels.listener import Listener
from trunkline.sync.iteration import resumed


class Home(Protocol):
    """Be the line that a listener belongs to."""

    @property
    def asynchronous(self) -> Trunkline:
        """Return the line itself."""

    def call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Run a function on its loop."""

    def forget(self, listener: SyncListener) -> None:
        """Resume a listener no more."""


class SyncListener:
    """Hand messages to a handler until closed.

    Args:
        line: The line.
        handler: Called on the loop.
        options: What was subscribed to, and from where.
    """

    def __init__(self, line: Home, handler: Callable[..., Any], options: dict[str, Any]) -> None:
        self._line = line
        self._handler = handler
        self._options = options
        self._listener = self._begun()

    def _begun(self) -> Listener:
        subscribe = self._line.asynchronous.subscribe
        options = {**self._options, "handler": self._handler}
        listener: Listener = self._line.call(subscribe, **options)
        return listener

    def pause(self) -> None:
        """Note where to go on: the line is about to be closed for a fork."""
        self._options = resumed(self._options, self._listener.subscription, None)

    def resume(self) -> None:
        """Go on there."""
        self._listener = self._begun()

    def close(self) -> None:
        """End it; the message in hand is finished first. Idempotent."""
        self._line.forget(self)
        self._line.call(self._listener.close)

    def __repr__(self) -> str:
        return f"<sync {self._listener!r}>"
