"""The sink that is the transport itself: what remains of a connection after the hand-over.

It stands in for the HTTP server's protocol object: the event loop tells it about data, pauses and
the end, and the server asks it to shut down.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, MutableSet
from typing import Any, Final, cast

from trunkline.gateway.framing import Payload
from trunkline.gateway.sinks import Owner

# One byte, never 0: a TLS transport pauses at 0 on every write and resumes only at the next one.
HIGH_WATER: Final = 1
# What the kernel may hold unsent for a client that does not read; its default is megabytes.
NOTSENT_LOWAT: Final = 16 * 1024
MAX_UNREAD: Final = 64 * 1024
MAX_UNSENT_REPLIES: Final = 256 * 1024

Receiver = Callable[[bytes], None]
Wrap = Callable[[bytes], bytes]


class TransportSink:
    """Write straight to a transport.

    Args:
        receiver: Takes what the client sends; without one it is dropped, and a client that
            sends much nevertheless is cut off.
        wrap: Completes the one answer of a held poll with its head; the first write is then the
            last.
    """

    __slots__ = (
        "_connections", "_receiver", "_transport", "_unread", "_wrap", "is_writable", "owner",
    )  # fmt: skip

    def __init__(self, receiver: Receiver | None = None, *, wrap: Wrap | None = None) -> None:
        self.owner: Owner | None = None
        self.is_writable = False
        self._receiver = receiver
        self._wrap = wrap
        self._transport: asyncio.Transport | None = None
        self._connections: MutableSet[Any] | None = None
        self._unread = 0

    def attach(self, transport: asyncio.Transport, connections: MutableSet[Any]) -> None:
        """Take over a transport whose protocol this object has just become.

        Args:
            transport: The transport.
            connections: Where the server keeps what it must shut down.
        """
        self._transport = transport
        self._connections = connections
        connections.add(self)
        transport.set_write_buffer_limits(high=HIGH_WATER)
        _bound_unsent(transport)
        # The server pauses reading behind large bodies and WebSocket messages.
        with contextlib.suppress(RuntimeError):  # asyncio before 3.13, where it is not paused
            transport.resume_reading()
        # A pause from before was told to the protocol before us.
        self.is_writable = transport.get_write_buffer_size() == 0

    # -- what the pump calls ------------------------------------------------------------------

    @property
    def backlog(self) -> int:
        """Count the bytes the transport could not yet hand to the kernel."""
        return self._transport.get_write_buffer_size() if self._transport else 0

    def write(self, payload: Payload) -> None:
        """Write, and become unwritable if the kernel refuses some of it."""
        if self._wrap is not None:
            self._conclude(payload)
        elif self._transport is not None:
            try:  # noqa: SIM105 - once per delivery: a context manager costs 5 % of all
                self._transport.write(payload)  # type: ignore[arg-type]
            except RuntimeError:
                # Closed by the other side since the last look: connection_lost is on its way.
                pass

    def reply(self, frame: bytes) -> None:
        """Write a small frame; a client that makes too many without reading is cut off."""
        if self.backlog > MAX_UNSENT_REPLIES:
            self.abort()
        elif self._transport is not None:
            with contextlib.suppress(RuntimeError):
                self._transport.write(frame)

    def finish(self, payload: Payload) -> None:
        """Write the end and close when it is through; whoever is stuck is cut off at once."""
        if self._transport is None:
            return
        if not self.is_writable and self.backlog:
            self.abort()
            return
        data = cast(bytes, payload)
        self.is_writable = False
        with contextlib.suppress(RuntimeError):
            self._transport.write(self._wrap(data) if self._wrap else data)
        self._transport.close()

    def abort(self) -> None:
        """Close at once; what was not sent is lost."""
        self.is_writable = False
        if self._transport is not None:
            self._transport.abort()

    def _conclude(self, payload: Payload) -> None:
        owner = self.owner
        self.finish(payload)
        if owner is not None:
            owner.on_lost()

    # -- what the event loop calls ------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Do nothing: the connection was made long ago."""

    def data_received(self, data: bytes) -> None:
        """Pass on what the client sends, or count and drop it."""
        if self._receiver is not None:
            self._receiver(data)
            return
        self._unread += len(data)
        if self._unread > MAX_UNREAD:
            self.abort()

    def eof_received(self) -> bool:
        """Let the transport close: who closes half, as in the server itself, closes all."""
        return False

    def pause_writing(self) -> None:
        """Only note it: the pump is in the middle of its walk."""
        self.is_writable = False

    def resume_writing(self) -> None:
        """Go on."""
        self.is_writable = True
        if self.owner is not None:
            self.owner.on_writable()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Let go of everything."""
        self.is_writable = False
        self._transport = None
        self._receiver = None
        if self._connections is not None:
            self._connections.discard(self)
            self._connections = None
        if self.owner is not None:
            self.owner.on_lost()

    # -- what the HTTP server calls -----------------------------------------------------------

    def shutdown(self) -> None:
        """Say goodbye; called by the server when it shuts down gracefully."""
        if self.owner is not None:
            self.owner.end("shutdown")
        elif self._transport is not None and self.backlog:
            self.abort()


def _bound_unsent(transport: asyncio.Transport) -> None:
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    sock = transport.get_extra_info("socket")
    if option is None or sock is None:
        return
    with contextlib.suppress(OSError, AttributeError):  # no TCP, a Unix socket for example
        sock.setsockopt(socket.IPPROTO_TCP, option, NOTSENT_LOWAT)
