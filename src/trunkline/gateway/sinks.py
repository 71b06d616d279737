"""Where a connection's bytes go: what the pump asks of a sink, and the sink over plain ASGI.

A sink takes one write at a time. While it has not got rid of it, it is not writable, and its
connection waits at its position: nothing is ever queued for a slow client.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from trunkline.gateway.framing import Payload
from trunkline.gateway.request import Event, Receive, Send

MAX_REPLIES: Final = 256
_DISCONNECTS: Final = frozenset({"http.disconnect", "websocket.disconnect"})


class Owner(Protocol):
    """Be told by a sink."""

    def on_writable(self) -> None:
        """Note that the sink can be written to again."""

    def on_lost(self) -> None:
        """Note that the peer is gone, and with it the sink."""

    def end(self, reason: str) -> None:
        """End the connection from this side."""


class Sink(Protocol):
    """Take what a connection is told.

    Attributes:
        owner: Whom to tell; None once the connection has ended.
        is_writable: Whether the last write is through.
        backlog: Bytes not yet through, to see whether a slow client makes progress.
    """

    owner: Owner | None
    is_writable: bool

    @property
    def backlog(self) -> int:
        """Count the bytes that are not through."""

    def write(self, payload: Payload) -> None:
        """Take one write; only while writable."""

    def reply(self, frame: bytes) -> None:
        """Take a small frame in answer to the client, writable or not; it is bounded."""

    def finish(self, payload: Payload) -> None:
        """Take the last write, and close when it is through."""

    def abort(self) -> None:
        """Close at once."""


class AsgiSink:
    """Write through an ASGI server's ``send``, from the one task that serves the connection.

    Args:
        events: Makes the ASGI events of a payload.
        last: The event that ends the response.
        is_single: Whether the first write is the last, as with the answer of a held poll.
    """

    __slots__ = (
        "_events", "_is_ending", "_is_single", "_last", "_outbox", "_scope", "_wake",
        "is_writable", "owner",
    )  # fmt: skip

    def __init__(
        self,
        events: Callable[[Payload], list[dict[str, Any]]],
        last: Mapping[str, Any] | None,
        *,
        is_single: bool = False,
    ) -> None:
        self.owner: Owner | None = None
        self.is_writable = True
        self._events = events
        self._last = last
        self._is_single = is_single
        # One write at most, and the answers before and after it in their order.
        self._outbox: list[Payload] = []
        self._is_ending = False
        self._wake: asyncio.Future[None] | None = None
        self._scope: asyncio.Timeout | None = None

    @property
    def backlog(self) -> int:
        """Count the bytes that are not through; how many the server holds is not known."""
        return 0 if self.is_writable else 1

    def write(self, payload: Payload) -> None:
        """Take one write and wake the task that sends it."""
        if self._is_single:
            owner = self.owner
            self.finish(payload)
            if owner is not None:
                owner.on_lost()
            return
        self.is_writable = False
        self._put(payload)

    def reply(self, frame: bytes) -> None:
        """Take a small frame; a client that makes too many without reading them is cut off."""
        if len(self._outbox) >= MAX_REPLIES:
            self.abort()
        else:
            self._put((frame,))

    def finish(self, payload: Payload, last: Mapping[str, Any] | None = None) -> None:
        """Take the last write; what is being sent goes first.

        Args:
            payload: The last bytes or texts.
            last: The event that ends the response, where it is known only now.
        """
        self._last = last or self._last
        self._is_ending = True
        self.is_writable = False
        self._put(payload)

    def abort(self) -> None:
        """End the task, also while it waits for the server."""
        self._is_ending = True
        self._last = None
        self.is_writable = False
        if self._scope is not None:
            with contextlib.suppress(RuntimeError):  # it has just ended
                self._scope.reschedule(0.0)

    async def run(
        self, receive: Receive, send: Send, on_event: Callable[[Event], None] | None = None
    ) -> None:
        """Send whatever is written until the end, the client's or ours.

        Args:
            receive: ASGI's receive; watched for a disconnect.
            send: ASGI's send.
            on_event: Called with every other event the client sends.
        """
        try:
            async with asyncio.timeout(None) as self._scope, asyncio.TaskGroup() as group:
                watcher = group.create_task(self._watch(receive, on_event))
                try:
                    await self._send_all(send, watcher)
                finally:
                    watcher.cancel()
        except TimeoutError:
            if not self._is_ending:
                raise
        finally:
            self._scope = None
            self.is_writable = False
            if self.owner is not None:
                self.owner.on_lost()

    async def _send_all(self, send: Send, watcher: asyncio.Task[None]) -> None:
        while True:
            if self._is_ending:
                # granian sends no close while somebody waits for the client's next event.
                watcher.cancel()
                await asyncio.sleep(0)
            await self._send_outbox(send)
            if self._outbox:
                continue
            if self._is_ending:
                if self._last is not None:
                    await send(dict(self._last))
                return
            if not self.is_writable:
                self.is_writable = True
                if self.owner is not None:
                    self.owner.on_writable()
            if not self._outbox and not self._is_ending:
                await self._sleep()

    async def _send_outbox(self, send: Send) -> None:
        outbox, self._outbox = self._outbox, []
        for payload in outbox:
            for event in self._events(payload) if payload else ():
                await send(event)

    async def _sleep(self) -> None:
        self._wake = asyncio.get_running_loop().create_future()
        try:
            await self._wake
        finally:
            self._wake = None

    def _put(self, payload: Payload) -> None:
        self._outbox.append(payload)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _watch(self, receive: Receive, on_event: Callable[[Event], None] | None) -> None:
        while True:
            event = await receive()
            if event["type"] in _DISCONNECTS:
                self.abort()
                return
            if on_event is not None:
                on_event(event)


def body_events(payload: Payload) -> list[dict[str, Any]]:
    """Make the event that sends a part of an HTTP response."""
    body = payload if isinstance(payload, bytes) else b"".join(payload)
    return [{"type": "http.response.body", "body": body, "more_body": True}]


def text_events(payload: Payload) -> list[dict[str, Any]]:
    """Make the events that send texts on a WebSocket, one for each."""
    texts = (payload,) if isinstance(payload, bytes) else payload
    return [{"type": "websocket.send", "text": text.decode()} for text in texts]


LAST_BODY: Final[Mapping[str, Any]] = {"type": "http.response.body", "body": b""}
