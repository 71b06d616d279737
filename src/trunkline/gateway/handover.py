"""Taking a connection's transport from uvicorn, so that no task, request or timer remains of it.

What Rack's socket hijack is to message_bus. The server's protocol class is ours by one thin layer,
which offers the transport in ``scope["state"]``; that reaches the WebSocket's protocol too. Taking
tells the server's protocol that its connection is lost, which makes it clean up without closing
anything. Whatever looks unusual makes :func:`take` refuse before anything has changed, and the
connection is served over plain ASGI.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from trunkline.gateway.offer import OFFER_KEY, Offer


class HandOverProtocol(HttpToolsProtocol):
    """Be uvicorn's HTTP protocol, with the transport on offer."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._offer: Final = Offer(
            server_state.connections, compresses=config.ws_per_message_deflate
        )
        super().__init__(config, server_state, {**app_state, OFFER_KEY: self._offer}, _loop)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Offer the transport."""
        super().connection_made(transport)
        # The transport, not this protocol: that would be a cycle through the scope.
        self._offer.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the offer back."""
        self._offer.transport = None
        super().connection_lost(exc)
