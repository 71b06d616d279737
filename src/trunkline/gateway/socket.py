"""The WebSocket endpoint: a handshake, then one connection and the session that talks about it."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from trunkline.gateway.answer import Answer
from trunkline.gateway.context import Context
from trunkline.gateway.custody import Custody
from trunkline.gateway.dialogue import Dialogue
from trunkline.gateway.entity_sync import EntitySyncSession
from trunkline.gateway.framing import (
    CLOSE_CODES,
    RAW_FRAMES,
    RAW_TEXTS,
    SOCKET_FRAMES,
    SOCKET_TEXTS,
    Payload,
    SocketFraming,
)
from trunkline.gateway.offer import Offer, offer_of, take
from trunkline.gateway.request import ClientGoneError, Request, Send
from trunkline.gateway.session import Session
from trunkline.gateway.sinks import AsgiSink, Sink
from trunkline.gateway.switchboard import Switchboard
from trunkline.gateway.transport import TransportSink
from trunkline.model.identity import Identity, Viewer
from trunkline.wire.frames import CloseCode
from trunkline.wire.socket import SUBPROTOCOL
from trunkline.wire.start import check_client_id

TRANSPORT: Final = "websocket"
COMPRESSION: Final = "permessage-deflate"
_CLOSE_FRAME: Final = b"\x88"
_GOODBYE: Final = b'{"type":"goodbye"'


class Language(NamedTuple):
    """Be what is spoken on a WebSocket.

    Args:
        session: Serves one.
        frames: Writes where frames are ours to write.
        texts: Writes where a server frames each text.
        subprotocol: Its name in handshakes, or None.
    """

    session: type[Dialogue]
    frames: SocketFraming
    texts: SocketFraming
    subprotocol: str | None


NATIVE: Final = Language(Session, SOCKET_FRAMES, SOCKET_TEXTS, SUBPROTOCOL)
ENTITY_SYNC: Final = Language(EntitySyncSession, RAW_FRAMES, RAW_TEXTS, None)


class SocketEndpoint:
    """Serve WebSockets.

    Args:
        context: What the gateway's endpoints share.
        board: Holds the connections.
        custody: Takes them in.
        language: What is spoken on them.
    """

    def __init__(
        self,
        context: Context,
        board: Switchboard,
        custody: Custody,
        language: Language | None = None,
    ) -> None:
        self._context = context
        self._board = board
        self._custody = custody
        self._language = language or NATIVE

    async def __call__(self, request: Request, send: Send) -> Answer | None:
        """Serve one WebSocket, to its end or to its hand-over."""
        event = await request.receive()
        if event["type"] != "websocket.connect":
            raise ClientGoneError("the client went away during the handshake")
        client_id = check_client_id(next(iter(request.query.get("client_id", ())), None))
        identity = await self._custody.admit(request)
        if self._context.entities is not None:
            await self._context.entities.listen()
        key = self._custody.enter(request, identity)
        try:
            await send(self._acceptance(request))
        except BaseException:
            self._custody.leave(key)
            raise
        await self._hold(request, send, Viewer(identity, client_id, strict=False), key)
        return None

    def _acceptance(self, request: Request) -> dict[str, Any]:
        offered = request.scope.get("subprotocols") or ()
        spoken = self._language.subprotocol
        return {
            "type": "websocket.accept",
            "subprotocol": spoken if spoken in offered else None,
            "headers": [],
        }

    async def _hold(self, request: Request, send: Send, viewer: Viewer, key: str) -> None:
        session = self._session(request, viewer.identity, key)
        held = TransportSink(session.receive_bytes)
        if take(_usable_offer(request), held, has_head=True):
            self._connect(session, viewer, self._language.frames, held)
            self._custody.keep(session.connection, request, key)
            return
        sink = AsgiSink(socket_events, None)
        self._connect(session, viewer, self._language.texts, sink)
        self._custody.keep(session.connection, request, key)
        await sink.run(request.receive, send, session.receive_event)

    def _connect(
        self, session: Dialogue, viewer: Viewer, framing: SocketFraming, sink: Sink
    ) -> None:
        session.connection = self._board.connect(viewer, framing, sink, transport=TRANSPORT)

    def _session(self, request: Request, identity: Identity, key: str) -> Dialogue:
        # A handshake weighs as much as the rest of an idle connection: keep it only if needed.
        is_wanted = self._context.failures.has_hook or identity.expires_at is not None
        handshake = request if is_wanted else None
        return self._language.session(self._context, self._board, key=key, handshake=handshake)


def _usable_offer(request: Request) -> Offer | None:
    """Return the server's offer, unless its client may compress what we could not read."""
    offer = offer_of(request.scope)
    extensions = request.header("sec-websocket-extensions") or ""
    return None if offer and offer.compresses and COMPRESSION in extensions else offer


def socket_events(payload: Payload) -> list[dict[str, Any]]:
    """Make the ASGI events for texts, and for the close that ends them.

    Args:
        payload: A text, or several. A close frame among them becomes ASGI's close; a goodbye is
            followed by one.
    """
    events: list[dict[str, Any]] = []
    for text in (payload,) if isinstance(payload, bytes) else payload:
        if text.startswith(_CLOSE_FRAME):
            events.append(_close(int.from_bytes(text[2:4], "big"), text[4:].decode()))
            continue
        events.append({"type": "websocket.send", "text": text.decode()})
        if text.startswith(_GOODBYE):
            reason = str(msgspec.json.decode(text)["reason"])
            events.append(_close(CLOSE_CODES.get(reason, CloseCode.RESTART), reason))
    return events


def _close(code: int, reason: str) -> dict[str, Any]:
    return {"type": "websocket.close", "code": code or CloseCode.NORMAL, "reason": reason}
