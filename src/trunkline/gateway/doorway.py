"""The gateway's life: it opens with the first client or the server's start, and closes with either.

A server that sends lifespan events opens the line before the first request and closes it after the
last. A gateway that is mounted in another application gets no such events; its first request opens
the line, and whoever made the line closes it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from trunkline.errors import TrunklineError
from trunkline.gateway.application import Application
from trunkline.gateway.assembly import Gateway
from trunkline.gateway.request import Event, Receive, Scope, Send

logger = logging.getLogger("trunkline.gateway")


class Opening(Protocol):
    """Be what a doorway opens and closes: the line."""

    @property
    def is_open(self) -> bool:
        """Tell whether it is open."""

    async def open_for_use(self) -> None:
        """Open it if need be; a line that is switched off stays as it is."""

    async def close(self) -> None:
        """Close it."""


class Doorway:
    """Be the ASGI application through which a line's clients come.

    Args:
        line: Opened before the first client is served.
        make: Makes the gateway, anew each time the line was closed.
        wrapped: Takes what is not the gateway's, lifespan events included.
    """

    def __init__(
        self,
        line: Opening,
        make: Callable[[], Gateway],
        *,
        wrapped: Application | None = None,
    ) -> None:
        self._line = line
        self._make = make
        self._wrapped = wrapped
        # Made at once, so that a missing hook is told where the gateway is asked for.
        self._gateway: Gateway | None = make()

    @property
    def gateway(self) -> Gateway:
        """Return the gateway."""
        if self._gateway is None:
            self._gateway = self._make()
        return self._gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await _Lifespan(self._line, self.close, receive, send).run(scope, self._wrapped)
            return
        if not self._line.is_open:
            await self._line.open_for_use()
        await self.gateway(scope, receive, send)

    async def close(self) -> None:
        """Tell every client to come back later, and end the gateway. Idempotent."""
        gateway, self._gateway = self._gateway, None
        if gateway is not None:
            await gateway.close()


class _Lifespan:
    """Open the line before the wrapped application starts, and close it after that has ended.

    Follows the lifespan protocol of the ASGI specification, version 2.0.
    """

    def __init__(
        self, line: Opening, end: Callable[[], Awaitable[None]], receive: Receive, send: Send
    ) -> None:
        self._line = line
        self._end = end
        self._receive = receive
        self._send = send
        self._was_open = line.is_open
        self._first: Event | None = None
        self._told = ""

    async def run(self, scope: Scope, wrapped: Application | None) -> None:
        """Serve the server's lifespan events to their end."""
        self._first = await self._receive()
        try:
            await self._line.open_for_use()
        except TrunklineError as error:
            await self._send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        try:
            if wrapped is not None:
                await wrapped(scope, self._hear, self._tell)
        except Exception:
            # An application may raise to say that it does not know the protocol.
            if self._told:
                raise
            logger.debug("the wrapped application takes no lifespan events", exc_info=True)
        await self._go_on()

    async def _go_on(self) -> None:
        """Do what the wrapped application left undone."""
        if not self._told:
            await self._tell({"type": "lifespan.startup.complete"})
        while self._told == "lifespan.startup.complete":
            event = await self._hear()
            if event["type"] == "lifespan.shutdown":
                await self._tell({"type": "lifespan.shutdown.complete"})

    async def _hear(self) -> Event:
        if self._first is not None and not self._told:
            event, self._first = self._first, None
            return event
        event = await self._receive()
        if event["type"] == "lifespan.shutdown":
            await self._end()
        return event

    async def _tell(self, event: Event) -> None:
        self._told = event["type"]
        if self._told != "lifespan.startup.complete" and not self._was_open:
            await self._line.close()
        await self._send(event)
