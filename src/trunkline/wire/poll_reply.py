"""message_bus's poll answers: headers in their exact order, messages, status and gaps as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from trunkline.errors import ProtocolError
from trunkline.model.message import Record
from trunkline.wire.http import Headers, check_header, encode_head, merge_headers
from trunkline.wire.message import json_text

STATUS_CHANNEL: Final = "/__status"
GAP_CHANNEL: Final = "/__gap"
EMPTY_ANSWER: Final = b"[]"
JSON_CONTENT_TYPE: Final = "application/json; charset=utf-8"
STREAM_CONTENT_TYPE: Final = "text/plain; charset=utf-8"
GAPS_HEADER: Final = "x-trunkline-gaps"
OPTIONS_BODY: Final = b"OK"

_CACHE_CONTROL: Final = ("cache-control", "must-revalidate, private, max-age=0")
_NO_CACHE: Final = (("pragma", "no-cache"), ("expires", "0"))
_PLAIN: Final = (_CACHE_CONTROL, ("content-type", JSON_CONTENT_TYPE), *_NO_CACHE)
_HELD: Final = (_CACHE_CONTROL, *_NO_CACHE)

# The framing of an answer is ours: an extra header of such a name would contradict it.
_FRAMING: Final = frozenset({"connection", "content-length", "transfer-encoding"})
_OURS_WHEN_HELD: Final = _FRAMING | {"content-type", "x-content-type-options"}

Extra = Iterable[tuple[str, str]]


class PollMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Be one element of a poll's answer, as a client reads it.

    Args:
        global_id: Its place on the line, -1 for status and gap messages.
        message_id: Its place in the channel, -1 likewise.
        channel: The channel's name.
        data: The decoded value.
    """

    global_id: int
    message_id: int
    channel: str
    data: Any


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[PollMessage])


def plain_headers(extra: Extra = (), *, length: int) -> Headers:
    """Return the headers of an answer that is given at once.

    Args:
        extra: The application's headers; they may change any but the framing ones.
        length: The body's length, bytes.

    Returns:
        The headers in order.

    Raises:
        GrammarError: An extra header is malformed.
    """
    allowed = _without(extra, _FRAMING)
    return [*merge_headers(_PLAIN, allowed), ("content-length", str(length))]


def stream_headers(extra: Extra = (), *, hop_by_hop: bool = True) -> Headers:
    """Return the headers of a stream.

    Args:
        extra: The application's headers; they cannot change the content type.
        hop_by_hop: Whether ``connection`` and ``transfer-encoding`` are ours to write: yes on a
            transport that we hold, no where an ASGI server frames the response.

    Returns:
        The headers in order.

    Raises:
        GrammarError: An extra header is malformed.
    """
    headers = _held_start(extra, hop_by_hop=hop_by_hop)
    headers.append(("content-type", STREAM_CONTENT_TYPE))
    if hop_by_hop:
        headers.append(("transfer-encoding", "chunked"))
    headers.append(("x-content-type-options", "nosniff"))
    return headers


def held_headers(extra: Extra = (), *, length: int, hop_by_hop: bool = True) -> Headers:
    """Return the headers of an answer that was held back and comes as a whole.

    Args:
        extra: The application's headers; they cannot change the content type.
        length: The body's length, bytes.
        hop_by_hop: As for :func:`stream_headers`.

    Returns:
        The headers in order.

    Raises:
        GrammarError: An extra header is malformed.
    """
    headers = _held_start(extra, hop_by_hop=hop_by_hop)
    headers.append(("content-type", JSON_CONTENT_TYPE))
    headers.append(("content-length", str(length)))
    return headers


def stream_head(extra: Extra = ()) -> bytes:
    """Write the whole head of a stream, for a transport that we hold."""
    return encode_head(200, stream_headers(extra))


def held_response(array: bytes, extra: Extra = ()) -> bytes:
    """Write a whole held answer, head and body, for a transport that we hold."""
    return encode_head(200, held_headers(extra, length=len(array))) + array


def _held_start(extra: Extra, *, hop_by_hop: bool) -> Headers:
    headers = merge_headers(_HELD, _without(extra, _OURS_WHEN_HELD))
    if hop_by_hop:
        headers.append(("connection", "close"))
    return headers


def _without(extra: Extra, names: frozenset[str]) -> Headers:
    checked = [check_header(name, value) for name, value in extra]
    return [(name, value) for name, value in checked if name not in names]


def encode_poll_message(record: Record) -> bytes:
    """Encode a message as an element of an answer.

    Args:
        record: As the log keeps it; nothing but its ids, channel and data is shown.

    Returns:
        A JSON object.
    """
    return b'{"global_id":%d,"message_id":%d,"channel":%b,"data":%b}' % (
        record.global_id,
        record.message_id,
        json_text(record.channel.name),
        record.data,
    )


def encode_status(last_ids: Mapping[str, int]) -> bytes:
    """Encode the status message, which moves the client's positions.

    Args:
        last_ids: Channel to its last id.

    Returns:
        A JSON object; it stands last in an answer, and at most once.
    """
    return _synthetic(STATUS_CHANNEL, dict(last_ids))


def encode_gap(floors: Mapping[str, int], reason: str = "trimmed") -> bytes:
    """Encode the gap message, for clients that asked for it by header.

    Args:
        floors: Channel to the newest of its ids that is gone.
        reason: ``trimmed`` or ``reset``.

    Returns:
        A JSON object.
    """
    data = {name: {"reason": reason, "floor": floor} for name, floor in floors.items()}
    return _synthetic(GAP_CHANNEL, data)


def _synthetic(channel: str, data: Any) -> bytes:
    return b'{"global_id":-1,"message_id":-1,"channel":"%b","data":%b}' % (
        channel.encode(),
        _encoder.encode(data),
    )


def encode_array(messages: Sequence[bytes]) -> bytes:
    """Join encoded messages to the JSON array that an answer or a block is."""
    return b"[%b]" % b",".join(messages)


def decode_answer(array: bytes) -> list[PollMessage]:
    """Read an answer or a block, for clients.

    Args:
        array: JSON.

    Returns:
        The messages, status and gap messages among them.

    Raises:
        ProtocolError: The text is no array of messages.
    """
    try:
        return _decoder.decode(array)
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise ProtocolError(f"this is no answer to a poll: {error}") from error
