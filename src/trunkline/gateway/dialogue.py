"""A client's side of a WebSocket, whatever is spoken on it: bytes or events in, texts out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Final

from trunkline.errors import LimitExceededError, ProtocolError
from trunkline.gateway.connection import Connection
from trunkline.gateway.context import Context
from trunkline.gateway.entity_talk import EntityTalk, Speech
from trunkline.gateway.framing import SocketFraming
from trunkline.gateway.request import Request as Handshake
from trunkline.gateway.switchboard import Switchboard
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

MAX_MISTAKES: Final = 50


class Dialogue(ABC):
    """Serve one WebSocket.

    An idle one owns no task, no parser and no queue.

    Args:
        context: What the gateway's endpoints share.
        board: Holds the connection.
        key: Whom its requests count for.
        handshake: How it began, where an error hook wants to know; else None.

    Attributes:
        connection: What it talks about; set before the first byte is received.
    """

    __slots__ = (
        "_board", "_context", "_entities", "_handshake", "_key", "_mistakes", "_parser",
        "connection",
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
        self._mistakes = 0
        self._entities: EntityTalk | None = None

    @abstractmethod
    def _hear(self, text: str) -> None:
        """Take a text that is within the limits.

        Raises:
            ProtocolError: The connection must be closed for it.
        """

    @abstractmethod
    def _speech(self) -> Speech:
        """Return how entities are written here."""

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
        try:
            most = self._context.options.max_frame_bytes
            if len(text.encode("utf-8", "surrogatepass")) > most:
                raise ProtocolError(
                    f"a message has at most {most} bytes (max_frame_bytes)",
                    close_code=CloseCode.TOO_BIG,
                )
            self._hear(text)
        except ProtocolError as error:
            self._violate(error)

    def _is_within_rate(self) -> bool:
        try:
            self._context.rates.check(self._key)
        except LimitExceededError as error:
            self._mistake(pushes.encode_error(None, error.code, str(error)))
            return False
        return True

    def _mistake(self, told: bytes) -> None:
        """Tell a mistake; whoever makes one after the other is not listened to any longer."""
        self._mistakes += 1
        self._complain(told)
        if self._mistakes > MAX_MISTAKES:
            self._close(CloseCode.POLICY, "too many mistakes")

    def _violate(self, error: ProtocolError) -> None:
        """Answer what cannot be answered by id, and close."""
        self._complain(pushes.encode_error(None, error.code, str(error)))
        self._close(error.close_code, str(error))

    # -- entities -----------------------------------------------------------------------------

    def _talk(self) -> EntityTalk:
        """Return what this client says of entities, begun at the first word."""
        talk = self._entities
        if talk is None:
            talk = self._entities = EntityTalk(
                self._context, self._board, self.connection, self._speech()
            )
        return talk

    # -- to the network -----------------------------------------------------------------------

    @property
    def _framing(self) -> SocketFraming:
        framing = self.connection.framing
        assert isinstance(framing, SocketFraming)  # noqa: S101 - the endpoint made it so
        return framing

    def _complain(self, told: bytes) -> None:
        self._say(told)

    def _say(self, payload: bytes) -> None:
        self.connection.reply(self._framing.text(payload))

    def _close(self, code: int, reason: str) -> None:
        self.connection.finish(encode_close(code, reason))
