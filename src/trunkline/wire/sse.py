"""Server-sent events: an encoder for the gateway and an incremental parser for clients.

The format is the HTML standard's, section 9.2 "Server-sent events".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from trunkline.errors import ProtocolError
from trunkline.model.message import Record
from trunkline.model.position import Position
from trunkline.wire.http import Headers
from trunkline.wire.message import encode_message
from trunkline.wire.start import Refusal

CONTENT_TYPE: Final = "text/event-stream; charset=utf-8"
HEADERS: Final[Headers] = [
    ("content-type", CONTENT_TYPE),
    ("cache-control", "no-store"),
    ("x-accel-buffering", "no"),
]
MAX_RETRY_MS: Final = 86_400_000

_BOM: Final = b"\xef\xbb\xbf"
_encoder = msgspec.json.Encoder()


def encode_event(
    data: bytes | None = None,
    *,
    name: str | None = None,
    event_id: str | None = None,
    retry_ms: int | None = None,
) -> bytes:
    """Write one event.

    Args:
        data: Its payload, or None for an event that only sets the last id or the retry time.
        name: Its type; none means ``message``.
        event_id: What a client sends back as Last-Event-ID.
        retry_ms: How long a client waits before it connects again.

    Returns:
        The event with the blank line that ends it.
    """
    lines = []
    if retry_ms is not None:
        lines.append(b"retry: %d\n" % retry_ms)
    if event_id is not None:
        lines.append(b"id: %b\n" % event_id.encode())
    if name is not None:
        lines.append(b"event: %b\n" % name.encode())
    if data is not None:
        lines += [b"data: %b\n" % line for line in _data_lines(data)]
    lines.append(b"\n")
    return b"".join(lines)


def _data_lines(data: bytes) -> Sequence[bytes]:
    if b"\n" not in data and b"\r" not in data:
        return (data,)
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")


def encode_message_event(record: Record, epoch: str) -> bytes:
    """Write a message.

    Args:
        record: As the log keeps it.
        epoch: The line's epoch.

    Returns:
        An event without a type, its id the position after this message.
    """
    payload = encode_message(record)
    if b"\n" in payload or b"\r" in payload:
        return encode_event(payload, event_id=f"{epoch}-{record.global_id}")
    return b"id: %b-%d\ndata: %b\n\n" % (epoch.encode(), record.global_id, payload)


def encode_position(position: Position) -> bytes:
    """Write an event that only moves the client's last id; also the heartbeat."""
    return b"id: %b\n\n" % str(position).encode()


def encode_ready(
    position: Position, channels: Iterable[str], refused: Iterable[Refusal], *, retry_ms: int
) -> bytes:
    """Write the first event of a stream.

    Args:
        position: Where reading starts.
        channels: The names and patterns that are listened to.
        refused: Those that are not, and why.
        retry_ms: How long the client shall wait before it connects again.

    Returns:
        The ``ready`` event.
    """
    data = {"position": str(position), "channels": list(channels), "refused": list(refused)}
    return encode_event(
        _encoder.encode(data), name="ready", event_id=str(position), retry_ms=retry_ms
    )


def encode_gap(reason: str, channels: Iterable[str], position: Position) -> bytes:
    """Write that messages before a position were lost.

    Args:
        reason: ``trimmed`` or ``reset``.
        channels: The names and patterns of this listener that are affected.
        position: Where it goes on.

    Returns:
        The ``gap`` event.
    """
    data = {"reason": reason, "channels": list(channels), "position": str(position)}
    return encode_event(_encoder.encode(data), name="gap", event_id=str(position))


def encode_goodbye(reason: str, *, retry_ms: int) -> bytes:
    """Write the last event of a stream that the server ends.

    Args:
        reason: ``shutdown``, ``expired``, ``revoked`` or ``slow``.
        retry_ms: How long the client shall wait before it connects again.

    Returns:
        The ``goodbye`` event.
    """
    data = {"reason": reason, "retry": retry_ms}
    return encode_event(_encoder.encode(data), name="goodbye", retry_ms=retry_ms)


def encode_comment(text: str = "") -> bytes:
    """Write a comment, which clients ignore."""
    lines = _data_lines(text.encode())
    return b"".join(b": %b\n" % line if line else b":\n" for line in lines) + b"\n"


class Event(NamedTuple):
    """Be an event as a client sees it.

    Args:
        name: Its type, ``message`` when the server gave none.
        data: Its payload.
        event_id: The last id when it was dispatched.
    """

    name: str
    data: str
    event_id: str


class EventParser:
    """Parse a stream of events wherever the network cut it.

    ``last_event_id`` follows every complete event, also those without data; ``retry_ms`` is the
    last reconnection time the server gave, or None.

    Args:
        limit: The most bytes a line, or the data of an event, may have.
        last_event_id: The id to begin with, from an earlier connection.
    """

    __slots__ = (
        "_at_start", "_data", "_data_size", "_id", "_limit", "_line", "_name", "_skip_lf",
        "last_event_id", "retry_ms",
    )  # fmt: skip

    def __init__(self, limit: int = 16 * 1024 * 1024, *, last_event_id: str = "") -> None:
        self._limit = limit
        self._line = bytearray()
        self._at_start = True
        self._skip_lf = False
        self._data: list[str] = []
        self._data_size = 0
        self._name = ""
        self._id = last_event_id
        self.last_event_id = last_event_id
        self.retry_ms: int | None = None

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes from the network and return the events they complete.

        Args:
            data: The next bytes of the response's body.

        Returns:
            The events, in order.

        Raises:
            ProtocolError: A line or an event's data is over the limit.
        """
        events: list[Event] = []
        if self._skip_lf and data:
            self._skip_lf = False
            data = data.removeprefix(b"\n")
        # One kind of line end is left after this; a CR that ends the packet may have its LF in
        # the next one, and already ends its line now.
        self._skip_lf = data.endswith(b"\r") or (self._skip_lf and not data)
        lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for line in lines[:-1]:
            self._line += line
            self._check(len(self._line))
            complete = self._take_line()
            if event := self._on_line(complete):
                events.append(event)
        self._line += lines[-1]
        self._check(len(self._line))
        return events

    def _take_line(self) -> bytes:
        line = bytes(self._line)
        self._line.clear()
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        return line

    def _check(self, size: int) -> None:
        if size > self._limit:
            self._line.clear()
            self._data.clear()
            raise ProtocolError(
                f"an event of the stream has more than {self._limit} bytes", close_code=1009
            )

    def _on_line(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
        field, colon, rest = line.partition(b":")
        if colon and not field:
            return None
        self._on_field(field, rest.removeprefix(b" "))
        return None

    def _on_field(self, field: bytes, raw: bytes) -> None:
        if field == b"data":
            self._data_size += len(raw) + 1
            self._check(self._data_size - 1)
            self._data.append(raw.decode("utf-8", "replace"))
        elif field == b"event":
            self._name = raw.decode("utf-8", "replace")
        elif field == b"id" and b"\0" not in raw:
            self._id = raw.decode("utf-8", "replace")
        elif field == b"retry" and raw.isdigit() and len(raw) <= 18:
            self.retry_ms = min(int(raw), MAX_RETRY_MS)

    def _dispatch(self) -> Event | None:
        self.last_event_id = self._id
        name, data = self._name or "message", self._data
        self._name, self._data, self._data_size = "", [], 0
        return Event(name, "\n".join(data), self._id) if data else None


def decode_data(event: Event) -> dict[str, Any]:
    """Decode the JSON object that our named events carry, for clients.

    Args:
        event: A ``ready``, ``gap`` or ``goodbye`` event.

    Returns:
        The object.

    Raises:
        ProtocolError: The data is no JSON object.
    """
    try:
        return msgspec.json.decode(event.data, type=dict[str, Any])
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise ProtocolError(f"the event {event.name!r} has no object: {error}") from error
