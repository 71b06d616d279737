"""WebSocket frames (RFC 6455): what a server writes, and a strict, bounded reader of clients."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final, NamedTuple

from trunkline.errors import ProtocolError

MAX_CONTROL_BYTES: Final = 125


class Opcode(IntEnum):
    """Name the frame types of RFC 6455 section 5.2."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class CloseCode(IntEnum):
    """Name the close codes in use: RFC 6455 section 7.4.1, and our own from 4000."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED = 1003
    NO_STATUS = 1005
    INVALID_PAYLOAD = 1007
    POLICY = 1008
    TOO_BIG = 1009
    INTERNAL = 1011
    RESTART = 1012
    EXPIRED = 4001
    REVOKED = 4003
    SLOW = 4008


class TextFrame(NamedTuple):
    """Be a whole text message, its fragments joined."""

    text: str


class PingFrame(NamedTuple):
    """Be a ping; its payload belongs into the pong."""

    payload: bytes


class PongFrame(NamedTuple):
    """Be a pong, asked for or not."""

    payload: bytes


class CloseFrame(NamedTuple):
    """Be the peer's close; ``NO_STATUS`` when it gave no code."""

    code: int
    reason: str


Frame = TextFrame | PingFrame | PongFrame | CloseFrame

_FIN: Final = 0x80
_RESERVED: Final = 0x70
_MASKED: Final = 0x80
_CONTROL: Final = 0x08
_OPCODES: Final = frozenset(Opcode)
_LEGAL_CLOSE: Final = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})


def encode_frame_head(opcode: Opcode, length: int) -> bytes:
    """Write the head of an unfragmented server frame.

    Args:
        opcode: The frame's type.
        length: The payload's length, bytes.

    Returns:
        2, 4 or 10 bytes, which stand before a payload that connections may share.
    """
    first = _FIN | opcode
    if length < 126:
        return bytes((first, length))
    if length < 0x10000:
        return struct.pack("!BBH", first, 126, length)
    return struct.pack("!BBQ", first, 127, length)


def encode_text(payload: bytes) -> bytes:
    """Write a text frame; *payload* is UTF-8."""
    return encode_frame_head(Opcode.TEXT, len(payload)) + payload


def encode_ping(payload: bytes = b"") -> bytes:
    """Write a ping; its payload is cut to what a control frame may have."""
    return _control(Opcode.PING, payload)


def encode_pong(payload: bytes = b"") -> bytes:
    """Write a pong with the payload of the ping it answers."""
    return _control(Opcode.PONG, payload)


def encode_close(code: int = CloseCode.NORMAL, reason: str = "") -> bytes:
    """Write a close frame.

    Args:
        code: A close code; ``NO_STATUS`` writes none, for it must not stand in a frame.
        reason: Text, cut to 123 bytes of whole characters.

    Returns:
        The frame.
    """
    if code == CloseCode.NO_STATUS:
        return _control(Opcode.CLOSE, b"")
    text = reason.encode("utf-8", "replace")[: MAX_CONTROL_BYTES - 2]
    return _control(Opcode.CLOSE, struct.pack("!H", code) + text.decode("utf-8", "ignore").encode())


def _control(opcode: Opcode, payload: bytes) -> bytes:
    cut = payload[:MAX_CONTROL_BYTES]
    return encode_frame_head(opcode, len(cut)) + cut


def apply_mask(payload: bytes, mask: bytes) -> bytes:
    """Mask or unmask a payload (RFC 6455 section 5.3) by one XOR of two large integers."""
    size = len(payload)
    pattern = (mask * (size // 4 + 1))[:size]
    mixed = int.from_bytes(payload, "little") ^ int.from_bytes(pattern, "little")
    return mixed.to_bytes(size, "little")


class _Head(NamedTuple):
    opcode: Opcode
    is_final: bool
    start: int  # where the payload begins in the buffer
    length: int


class FrameParser:
    """Read a client's frames wherever the network cut them.

    A violation raises once; afterwards, and after a close frame, whatever comes is dropped.

    Args:
        max_size: The most bytes a message may have, all fragments together. A frame that would
            exceed it is refused by its head, before its payload is kept.
    """

    __slots__ = ("_buffer", "_done", "_fragments", "_in_message", "_max_size")

    def __init__(self, max_size: int = 64 * 1024) -> None:
        self._max_size = max_size
        self._buffer = bytearray()
        self._fragments = bytearray()
        self._in_message = False
        self._done = False

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing is half-read, so that a fresh parser would do as well."""
        return not (self._buffer or self._in_message or self._done)

    @property
    def is_done(self) -> bool:
        """Tell whether the connection's reading side ended, by a close frame or a violation."""
        return self._done

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take bytes from the network and iterate over the frames they complete.

        Frames not iterated over stay for the next call.

        Args:
            data: The next bytes.

        Returns:
            The frames, in order; the iteration raises where the violation stands.

        Raises:
            ProtocolError: The client violates the protocol; ``close_code`` says how to close.
        """
        if not self._done:
            self._buffer += data
        return self._frames()

    def _frames(self) -> Iterator[Frame]:
        while not self._done:
            try:
                head = self._read_head()
                if head is None or len(self._buffer) < head.start + head.length:
                    return
                frame = self._read_frame(head)
            except ProtocolError:
                self._finish()
                raise
            if isinstance(frame, CloseFrame):
                self._finish()
            if frame is not None:
                yield frame

    def _finish(self) -> None:
        self._done = True
        self._in_message = False
        self._buffer.clear()
        self._fragments.clear()

    def _read_head(self) -> _Head | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, second = buffer[0], buffer[1]
        if first & _RESERVED:
            raise ProtocolError("a frame has reserved bits set: no extension was agreed on")
        if (first & 0x0F) not in _OPCODES:
            raise ProtocolError(f"a frame has the unknown opcode {first & 0x0F}")
        if not second & _MASKED:
            raise ProtocolError("a client must mask its frames")
        opcode = Opcode(first & 0x0F)
        self._check_order(opcode, is_final=bool(first & _FIN), short=second & 0x7F)
        start, length = self._read_length(second & 0x7F)
        if length is None:
            return None
        if not opcode & _CONTROL and len(self._fragments) + length > self._max_size:
            raise ProtocolError(
                f"a message has more than {self._max_size} bytes", close_code=CloseCode.TOO_BIG
            )
        return _Head(opcode, bool(first & _FIN), start, length)

    def _check_order(self, opcode: Opcode, *, is_final: bool, short: int) -> None:
        if opcode & _CONTROL:
            if not is_final:
                raise ProtocolError("a control frame must not be fragmented")
            if short > MAX_CONTROL_BYTES:
                raise ProtocolError(f"a control frame has at most {MAX_CONTROL_BYTES} bytes")
        elif opcode is Opcode.CONTINUATION:
            if not self._in_message:
                raise ProtocolError("a continuation frame continues nothing")
        elif self._in_message:
            raise ProtocolError("a new message begins before the last one ended")
        elif opcode is Opcode.BINARY:
            raise ProtocolError(
                "binary messages are not spoken here: send text", close_code=CloseCode.UNSUPPORTED
            )

    def _read_length(self, short: int) -> tuple[int, int | None]:
        """Return where the payload starts and its length, None while that is incomplete."""
        extra = {126: 2, 127: 8}.get(short, 0)
        start = 2 + extra + 4
        if len(self._buffer) < start:
            return start, None
        if not extra:
            return start, short
        length = int.from_bytes(self._buffer[2 : 2 + extra], "big")
        if length >= 2**63:
            raise ProtocolError("a frame's length has its highest bit set")
        return start, length

    def _read_frame(self, head: _Head) -> Frame | None:
        buffer, end = self._buffer, head.start + head.length
        payload = apply_mask(
            bytes(buffer[head.start : end]), bytes(buffer[head.start - 4 : head.start])
        )
        del buffer[:end]
        if head.opcode is Opcode.PING:
            return PingFrame(payload)
        if head.opcode is Opcode.PONG:
            return PongFrame(payload)
        if head.opcode is Opcode.CLOSE:
            return _close_frame(payload)
        return self._read_fragment(head, payload)

    def _read_fragment(self, head: _Head, payload: bytes) -> TextFrame | None:
        if not head.is_final:
            self._in_message = True
            self._fragments += payload
            return None
        if self._in_message:
            payload = bytes(self._fragments) + payload
            self._fragments.clear()
            self._in_message = False
        return TextFrame(_utf8(payload))


def _utf8(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(
            f"a text is not UTF-8: {error.reason}", close_code=CloseCode.INVALID_PAYLOAD
        ) from error


def _close_frame(payload: bytes) -> CloseFrame:
    if not payload:
        return CloseFrame(CloseCode.NO_STATUS, "")
    code = int.from_bytes(payload[:2], "big")
    if code not in _LEGAL_CLOSE:  # nor is a single byte, whatever its value
        raise ProtocolError("a close frame has no legal code")
    return CloseFrame(code, _utf8(payload[2:]))
