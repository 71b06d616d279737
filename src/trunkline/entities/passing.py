"""Messages of clients that are not ours: who takes them, one after the other, off the read loop."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import msgspec

from trunkline.entities.viewer import Viewer
from trunkline.model import codec

logger = logging.getLogger("trunkline.entities")

MAX_WAITING: Final = 64


class ClientMessage:
    """Be a message of a client to the application.

    Args:
        text: As it came.
        viewer: Who sent it: identity and secret.
        say: Sends an answer.

    Attributes:
        text: As it came.
        viewer: Who sent it.
    """

    __slots__ = ("_say", "text", "viewer")

    def __init__(self, text: str, viewer: Viewer, say: Callable[[bytes], None]) -> None:
        self.text = text
        self.viewer = viewer
        self._say = say

    @property
    def data(self) -> Any:
        """Return the decoded JSON, or None when it is none."""
        try:
            return msgspec.json.decode(self.text)
        except (ValueError, RecursionError, msgspec.MsgspecError):
            return None

    def reply(self, data: Any) -> None:
        """Send an answer to this client; nothing happens when it is gone.

        Args:
            data: Any JSON value.

        Raises:
            UnencodableDataError: It is none.
        """
        self._say(codec.encode(data))


Receiver = Callable[[ClientMessage], Awaitable[object]]
Start = Callable[[str, Coroutine[Any, Any, None]], None]


class Passage:
    """Hand one client's messages to the application, in their order.

    Args:
        receiver: The application's function.
        start: Runs background work.
    """

    __slots__ = ("_is_working", "_receiver", "_start", "_waiting")

    def __init__(self, receiver: Receiver, start: Start) -> None:
        self._receiver = receiver
        self._start = start
        self._waiting: deque[ClientMessage] = deque()
        self._is_working = False

    def put(self, message: ClientMessage) -> bool:
        """Take a message.

        Returns:
            Whether there was room for it.
        """
        if len(self._waiting) >= MAX_WAITING:
            return False
        self._waiting.append(message)
        if not self._is_working:
            self._is_working = True
            self._start("messages to the application", self._work())
        return True

    def close(self) -> None:
        """Drop what waits."""
        self._waiting.clear()

    async def _work(self) -> None:
        try:
            while self._waiting:
                message = self._waiting.popleft()
                try:
                    await self._receiver(message)
                except Exception:
                    logger.exception("the receiver of clients' messages raised")
        finally:
            self._is_working = False
