"""A client's conversation on a WebSocket: requests in, answers by id, one connection's messages."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Final

from trunkline.errors import (
    LimitExceededError,
    ProtocolError,
    SocketRequestError,
)
from trunkline.gateway.connection import Connection
from trunkline.gateway.context import Context
from trunkline.gateway.framing import SocketFraming
from trunkline.gateway.request import Request as Handshake
from trunkline.gateway.switchboard import Switchboard
from trunkline.model.position import Position
from trunkline.wire import pushes
from trunkline.wire.frames import (
    CloseCode,
    CloseFrame,
    Frame,
    FrameParser,
    PingFrame,
    TextFrame,
    encode_close,
    encode_pong,
)
from trunkline.wire.socket import (
    PingRequest,
    Request,
    ResumeRequest,
    SubscribeRequest,
    UnsubscribeRequest,
    parse_request,
)
from trunkline.wire.start import Start

MAX_WAITING: Final = 64
MAX_MISTAKES: Final = 50
RENEWAL_POLL: Final = 0.02


class Session:
    """Serve one WebSocket's requests, in their order.

    An idle session owns no task, no parser and no queue.

    Args:
        context: What the gateway's endpoints share.
        board: Holds the connection.
        key: Whom its requests count for.
        handshake: How it began, where an error hook wants to know; else None.

    Attributes:
        connection: What it talks about; set before the first byte is received.
    """

    __slots__ = (
        "_board", "_context", "_handshake", "_is_working", "_key", "_mistakes", "_parser",
        "_waiting", "connection",
    )  # fmt: skip

    connection: Connection

    def __init__(
        self, context: Context, board: Switchboard, *, key: str, handshake: Handshake | None
    ) -> None:
        self._context = context
        self._board = board
        self._key = key
        self._handshake = handshake
        self._parser: FrameParser | None = None
        self._waiting: deque[Request] | None = None
        self._is_working = False
        self._mistakes = 0

    # -- from the network ---------------------------------------------------------------------

    def receive_bytes(self, data: bytes) -> None:
        """Take bytes from a transport that was handed over."""
        parser = self._parser or FrameParser(self._context.options.max_frame_bytes)
        self._parser = parser
        try:
            for frame in parser.feed(data):
                self._receive_frame(frame)
                if self.connection.has_ended:
                    break
        except ProtocolError as error:
            self._violate(error)
        if parser.is_idle:
            self._parser = None

    def receive_event(self, event: Mapping[str, object]) -> None:
        """Take what an ASGI server received."""
        text = event.get("text")
        if isinstance(text, str):
            self.receive_text(text)
        else:
            self._violate(
                ProtocolError(
                    "binary messages are not spoken here: send text",
                    close_code=CloseCode.UNSUPPORTED,
                )
            )

    def _receive_frame(self, frame: Frame) -> None:
        if isinstance(frame, TextFrame):
            self.receive_text(frame.text)
        elif isinstance(frame, PingFrame):
            if self._is_within_rate():
                self.connection.reply(encode_pong(frame.payload))
        elif isinstance(frame, CloseFrame):
            self.connection.finish(encode_close(frame.code))

    def receive_text(self, text: str) -> None:
        """Take one text: a request, or what pretends to be one."""
        if self.connection.has_ended or not self._is_within_rate():
            return
        options = self._context.options
        try:
            if len(text.encode("utf-8", "surrogatepass")) > options.max_frame_bytes:
                raise ProtocolError(
                    f"a message has at most {options.max_frame_bytes} bytes (max_frame_bytes)",
                    close_code=CloseCode.TOO_BIG,
                )
            request = parse_request(text, max_channels=options.max_channels)
        except ProtocolError as error:
            self._violate(error)
        except SocketRequestError as error:
            self._refuse(error)
        else:
            self._mistakes = 0
            self._take(request)

    def _is_within_rate(self) -> bool:
        try:
            self._context.rates.check(self._key)
        except LimitExceededError as error:
            self._mistake(pushes.encode_error(None, error.code, str(error)))
            return False
        return True

    def _refuse(self, error: SocketRequestError) -> None:
        self._mistake(pushes.encode_error(error.request_id, error.code, str(error)))

    def _mistake(self, told: bytes) -> None:
        """Tell a mistake; whoever makes one after the other is not listened to any longer."""
        self._mistakes += 1
        self._say(told)
        if self._mistakes > MAX_MISTAKES:
            self._close(CloseCode.POLICY, "too many mistakes")

    def _violate(self, error: ProtocolError) -> None:
        """Answer what cannot be answered by id, and close."""
        self._say(pushes.encode_error(None, error.code, str(error)))
        self._close(error.close_code, str(error))

    # -- one request after the other ----------------------------------------------------------

    def _take(self, request: Request) -> None:
        if isinstance(request, PingRequest):
            self._say(pushes.encode_pong(request.id, self._position()))
            return
        if self._waiting is None:
            self._waiting = deque()
        if len(self._waiting) >= MAX_WAITING:
            self._say(
                pushes.encode_error(
                    request.id, "limit-exceeded", f"{MAX_WAITING} requests wait already: slow down"
                )
            )
            self._close(CloseCode.POLICY, "too many requests at once")
            return
        self._waiting.append(request)
        if not self._is_working:
            self._is_working = True
            self._board.crew.start("socket requests", self._work())

    async def _work(self) -> None:
        try:
            while self._waiting and not self.connection.has_ended:
                await self._serve(self._waiting.popleft())
        finally:
            self._is_working = False
            self._waiting = None

    async def _serve(self, request: Request) -> None:
        await self._await_identity()
        try:
            if isinstance(request, SubscribeRequest):
                starts = dict.fromkeys(request.channels, request.start)
                await self._subscribe(request, starts, last=request.last)
            elif isinstance(request, ResumeRequest):
                await self._subscribe(request, request.starts)
            elif isinstance(request, UnsubscribeRequest):
                gone = await self.connection.remove(request.channels)
                self._say(pushes.encode_unsubscribed(request.id, gone))
        except Exception as error:  # noqa: BLE001 - it is reported, here and to the client
            problem = await self._context.failures.report(self._handshake, error)
            self._say(pushes.encode_error(request.id, problem.code, problem.detail))

    async def _await_identity(self) -> None:
        """Wait while the identity is being asked for again; that ends well or with a goodbye."""
        is_expired = self._context.gatekeeper.is_expired
        # Looking is rare and short; an event would weigh on every connection.
        while is_expired(self.connection.viewer.identity) and not self.connection.has_ended:  # noqa: ASYNC110
            await asyncio.sleep(RENEWAL_POLL)

    async def _subscribe(
        self,
        request: SubscribeRequest | ResumeRequest,
        starts: Mapping[str, Start],
        *,
        last: int | None = None,
    ) -> None:
        connection, framing = self.connection, self._framing
        gatekeeper = self._context.gatekeeper
        granted, refused = await gatekeeper.split(connection.viewer.identity, starts)
        self._check_count(granted)

        def acknowledge(position: Position) -> bytes:
            return framing.text(pushes.encode_subscribed(request.id, granted, refused, position))

        def live(position: Position) -> bytes:
            return framing.text(pushes.encode_live(request.id, position))

        if granted:
            await connection.add(
                {name: starts[name] for name in granted},
                last=last,
                acknowledge=acknowledge,
                live=live,
            )
        else:
            position = self._position()
            connection.reply(acknowledge(position))
            connection.reply(live(position))

    def _check_count(self, granted: list[str]) -> None:
        allowed = self._context.options.max_subscriptions
        if len({*self.connection.names, *granted}) > allowed:
            raise LimitExceededError("max_subscriptions", allowed, status=400)

    # -- to the network -----------------------------------------------------------------------

    @property
    def _framing(self) -> SocketFraming:
        framing = self.connection.framing
        assert isinstance(framing, SocketFraming)  # noqa: S101 - the endpoint made it so
        return framing

    def _position(self) -> Position:
        return self.connection.position or self._board.hub.position

    def _say(self, payload: bytes) -> None:
        self.connection.reply(self._framing.text(payload))

    def _close(self, code: int, reason: str) -> None:
        self.connection.finish(encode_close(code, reason))
