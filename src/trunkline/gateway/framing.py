"""How each protocol writes what a connection is told: pure functions behind one small interface.

A message is framed once per framing; its bytes stay with the ring's entry and are shared by all
connections. Frames of one framing join to one write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from trunkline.channels.catchup import Gap
from trunkline.model.message import Record
from trunkline.model.position import Position
from trunkline.wire import poll_reply, pushes, sse
from trunkline.wire.chunks import EMPTY_BLOCK, EMPTY_CHUNK, FINAL_CHUNKS, LAST_CHUNK, block, chunk
from trunkline.wire.frames import CloseCode, encode_close, encode_ping, encode_text

Payload = bytes | tuple[bytes, ...]
Floors = Mapping[str, int]

CLOSE_CODES: Final[Mapping[str, int]] = {
    "shutdown": CloseCode.RESTART,
    "expired": CloseCode.EXPIRED,
    "revoked": CloseCode.REVOKED,
    "slow": CloseCode.SLOW,
}


class Framing(Protocol):
    """Write what connections of one protocol and one kind of sink are told.

    Attributes:
        name: Keys the shared frames; unlike framings never share a name.
        needs_floors: Whether :meth:`gap` must be given the channels' floors.
    """

    name: str
    needs_floors: bool

    def message(self, record: Record, epoch: str) -> bytes:
        """Write a message."""

    def position(self, position: Position) -> bytes:
        """Write that the connection stands here now; empty where the protocol has no word."""

    def heartbeat(self, position: Position | None) -> bytes:
        """Write a sign of life, with the position unless the connection is catching up."""

    def gap(self, gap: Gap, channels: Sequence[str], floors: Floors) -> bytes:
        """Write that messages are gone; empty where the client can't understand it."""

    def goodbye(self, reason: str, retry_ms: int) -> Payload:
        """Write the end, up to the last byte before the connection closes."""

    def join(self, frames: Sequence[bytes]) -> Payload:
        """Put frames together for one write."""


class EventFraming:
    """Write server-sent events.

    Args:
        is_chunked: Whether every event is an HTTP chunk of its own: yes on a transport, no
            where a server frames the response.
    """

    needs_floors = False

    def __init__(self, *, is_chunked: bool) -> None:
        self.name = "sse.chunked" if is_chunked else "sse"
        self._end = LAST_CHUNK if is_chunked else b""
        self._is_chunked = is_chunked

    def frame(self, event: bytes) -> bytes:
        """Frame an event."""
        return chunk(event) if self._is_chunked else event

    def message(self, record: Record, epoch: str) -> bytes:
        """Write a message."""
        return self.frame(sse.encode_message_event(record, epoch))

    def position(self, position: Position) -> bytes:
        """Write an event that only sets the last id."""
        return self.frame(sse.encode_position(position))

    def heartbeat(self, position: Position | None) -> bytes:
        """Write the position, or a comment where none holds."""
        return self.frame(sse.encode_comment()) if position is None else self.position(position)

    def gap(self, gap: Gap, channels: Sequence[str], floors: Floors) -> bytes:  # noqa: ARG002
        """Write a gap event."""
        return self.frame(sse.encode_gap(gap.reason, channels, gap.position))

    def goodbye(self, reason: str, retry_ms: int) -> bytes:
        """Write the goodbye event and the end of the response."""
        return self.frame(sse.encode_goodbye(reason, retry_ms=retry_ms)) + self._end

    def join(self, frames: Sequence[bytes]) -> bytes:
        """Put frames together for one write."""
        return b"".join(frames)


class BlockFraming:
    """Write message_bus's streamed blocks.

    Args:
        is_chunked: As for :class:`EventFraming`.
        tells_gaps: Whether the client asked to be told of gaps.
    """

    def __init__(self, *, is_chunked: bool, tells_gaps: bool) -> None:
        self.name = "blocks.chunked" if is_chunked else "blocks"
        self.needs_floors = tells_gaps
        self._is_chunked = is_chunked

    def block(self, array: bytes) -> bytes:
        """Frame a JSON array."""
        part = block(array)
        return chunk(part) if self._is_chunked else part

    def message(self, record: Record, epoch: str) -> bytes:  # noqa: ARG002
        """Write a message as an array of one."""
        return self.block(b"[%b]" % poll_reply.encode_poll_message(record))

    def position(self, position: Position) -> bytes:  # noqa: ARG002
        """Write nothing: the protocol has no positions over channels."""
        return b""

    def heartbeat(self, position: Position | None) -> bytes:  # noqa: ARG002
        """Write an empty block."""
        return EMPTY_CHUNK if self._is_chunked else EMPTY_BLOCK

    def gap(self, gap: Gap, channels: Sequence[str], floors: Floors) -> bytes:
        """Write a gap message to those who asked for it."""
        if not self.needs_floors:
            return b""
        known = floors or dict.fromkeys(channels, 0)
        return self.block(b"[%b]" % poll_reply.encode_gap(known, gap.reason))

    def goodbye(self, reason: str, retry_ms: int) -> bytes:  # noqa: ARG002
        """Write the final block and the end of the response."""
        return FINAL_CHUNKS if self._is_chunked else EMPTY_BLOCK

    def join(self, frames: Sequence[bytes]) -> bytes:
        """Put frames together for one write."""
        return b"".join(frames)


class ArrayFraming:
    """Write the one array that ends a held poll; there is nothing to say before it.

    Args:
        tells_gaps: Whether the client asked to be told of gaps.
    """

    name = "array"

    def __init__(self, *, tells_gaps: bool) -> None:
        self.needs_floors = tells_gaps

    def message(self, record: Record, epoch: str) -> bytes:  # noqa: ARG002
        """Write a message as an element."""
        return poll_reply.encode_poll_message(record)

    def position(self, position: Position) -> bytes:  # noqa: ARG002
        """Write nothing."""
        return b""

    def heartbeat(self, position: Position | None) -> bytes:  # noqa: ARG002
        """Write nothing: the head of the answer goes out with the answer."""
        return b""

    def gap(self, gap: Gap, channels: Sequence[str], floors: Floors) -> bytes:
        """Write a gap message as an element, to those who asked for it."""
        if not self.needs_floors:
            return b""
        return poll_reply.encode_gap(floors or dict.fromkeys(channels, 0), gap.reason)

    def goodbye(self, reason: str, retry_ms: int) -> bytes:  # noqa: ARG002
        """Write the empty array."""
        return poll_reply.EMPTY_ANSWER

    def join(self, frames: Sequence[bytes]) -> bytes:
        """Put elements together to an array."""
        return poll_reply.encode_array(frames)


class SocketFraming:
    """Write the native WebSocket protocol.

    Args:
        is_framed: Whether WebSocket frames are ours to write: yes on a transport, no where a
            server frames each text.
    """

    needs_floors = False

    def __init__(self, *, is_framed: bool) -> None:
        self.name = "socket.framed" if is_framed else "socket"
        self.is_framed = is_framed

    def text(self, payload: bytes) -> bytes:
        """Frame one JSON text, such as the answer to a request."""
        return encode_text(payload) if self.is_framed else payload

    def message(self, record: Record, epoch: str) -> bytes:  # noqa: ARG002
        """Write a message."""
        return self.text(pushes.encode_push_message(record))

    def position(self, position: Position) -> bytes:
        """Write a position."""
        return self.text(pushes.encode_push_position(position))

    def heartbeat(self, position: Position | None) -> bytes:
        """Write the position and a ping; a server that frames texts sends its own pings."""
        frame = b"" if position is None else self.position(position)
        return frame + encode_ping() if self.is_framed else frame

    def gap(self, gap: Gap, channels: Sequence[str], floors: Floors) -> bytes:  # noqa: ARG002
        """Write a gap."""
        return self.text(pushes.encode_push_gap(gap.reason, channels, gap.position))

    def goodbye(self, reason: str, retry_ms: int) -> Payload:
        """Write the goodbye and, where frames are ours, the close."""
        text = self.text(pushes.encode_push_goodbye(reason, retry_ms=retry_ms))
        if not self.is_framed:
            return (text,)
        return text + encode_close(CLOSE_CODES.get(reason, CloseCode.RESTART), reason)

    def join(self, frames: Sequence[bytes]) -> Payload:
        """Put frames together for one write, or list the texts for a server."""
        return b"".join(frames) if self.is_framed else tuple(frames)


class RawFraming(SocketFraming):
    """Write entity-sync's protocol: rows as they are, and nothing that is not a row.

    Args:
        is_framed: As for :class:`SocketFraming`.
    """

    def __init__(self, *, is_framed: bool) -> None:
        super().__init__(is_framed=is_framed)
        self.name = "raw.framed" if is_framed else "raw"

    def goodbye(self, reason: str, retry_ms: int) -> Payload:  # noqa: ARG002
        """Write the close."""
        close = encode_close(CLOSE_CODES.get(reason, CloseCode.RESTART), reason)
        return close if self.is_framed else (close,)


EVENTS: Final = EventFraming(is_chunked=False)
CHUNKED_EVENTS: Final = EventFraming(is_chunked=True)
SOCKET_TEXTS: Final = SocketFraming(is_framed=False)
SOCKET_FRAMES: Final = SocketFraming(is_framed=True)
RAW_TEXTS: Final = RawFraming(is_framed=False)
RAW_FRAMES: Final = RawFraming(is_framed=True)
BLOCKS: Final = {gaps: BlockFraming(is_chunked=False, tells_gaps=gaps) for gaps in (False, True)}
CHUNKED_BLOCKS: Final = {
    gaps: BlockFraming(is_chunked=True, tells_gaps=gaps) for gaps in (False, True)
}
ARRAYS: Final = {gaps: ArrayFraming(tells_gaps=gaps) for gaps in (False, True)}
