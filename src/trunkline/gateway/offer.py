"""The server's offer to hand a transport over, and how it is taken."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import MutableSet
from typing import Any, Final, cast

from trunkline.gateway.request import Scope
from trunkline.gateway.transport import TransportSink

logger = logging.getLogger("trunkline.gateway")

OFFER_KEY: Final = "trunkline.transport"


class HandedOverError(ConnectionError):
    """Tell a server's protocol that its connection is gone: we have it."""


class _DeadTransport:
    """Stand where the transport was: what the server still closes is not closed."""

    def close(self) -> None:
        """Do nothing."""

    def is_closing(self) -> bool:
        """Say that nothing can be done here any more."""
        return True


_DEAD: Final = _DeadTransport()


class Offer:
    """Hold a transport that an endpoint may take.

    Args:
        connections: Where the server keeps what it must shut down.
        compresses: Whether the server agrees to compress WebSocket messages, which we don't.
    """

    __slots__ = ("compresses", "connections", "transport")

    def __init__(self, connections: MutableSet[Any], *, compresses: bool) -> None:
        self.connections = connections
        self.compresses = compresses
        self.transport: asyncio.Transport | None = None


def offer_of(scope: Scope) -> Offer | None:
    """Return the server's offer, or None where there is none or the connection is shared."""
    state = scope.get("state")
    offer = state.get(OFFER_KEY) if isinstance(state, dict) else None
    if not isinstance(offer, Offer) or scope.get("http_version", "1.1") != "1.1":
        return None
    return None if scope.get("method") == "HEAD" else offer


def take(offer: Offer | None, sink: TransportSink, *, has_head: bool) -> bool:
    """Make *sink* the owner of the transport on offer.

    Args:
        offer: The offer, if there is one.
        sink: Takes the place of the server's protocol.
        has_head: Whether the head of the response must have gone out already, or must not.

    Returns:
        Whether it was taken; if not, nothing has changed.
    """
    transport = offer.transport if offer is not None else None
    if offer is None or transport is None or transport.is_closing():
        return False
    old = cast(Any, transport.get_protocol())
    if not _is_usual(old, has_head=has_head):
        return False
    transport.set_protocol(cast(asyncio.BaseProtocol, sink))
    try:
        old.connection_lost(HandedOverError())
        old.transport = _DEAD
    except Exception:
        # It is ours already, and what the server makes of it is not the client's concern.
        logger.exception("the server's protocol could not be told of the hand-over")
    offer.transport = None
    sink.attach(transport, offer.connections)
    return True


def _is_usual(old: Any, *, has_head: bool) -> bool:
    """Tell whether the server's protocol looks as it must for a hand-over."""
    if not hasattr(old, "transport") or not hasattr(old, "connection_lost"):
        return False
    cycle = getattr(old, "cycle", None)
    if cycle is None:
        # A WebSocket's: accepted and open.
        return has_head and getattr(old, "handshake_complete", False) is True
    return (
        not getattr(old, "pipeline", True)
        and getattr(cycle, "response_started", None) is has_head
        and getattr(cycle, "response_complete", None) is False
        and getattr(cycle, "disconnected", None) is False
    )
