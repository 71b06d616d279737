"""The message object of our own protocols, the same bytes in SSE, WebSocket and line output."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from trunkline.errors import ProtocolError
from trunkline.model.message import Record

_encoder = msgspec.json.Encoder()


class WireMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Be a message object as a client reads it.

    Args:
        channel: The channel's name.
        message_id: Dense per channel.
        global_id: Dense per line.
        published_at: Unix seconds.
        data: The decoded value.
        headers: What the publisher added.
    """

    channel: str
    message_id: int
    global_id: int
    published_at: float
    data: Any
    headers: dict[str, Any] = msgspec.field(default_factory=dict)


_decoder = msgspec.json.Decoder(WireMessage)


@lru_cache(maxsize=16_384)
def json_text(text: str) -> bytes:
    """Encode a text that returns often, such as a channel's name, as a JSON string."""
    return _encoder.encode(text)


def message_members(record: Record) -> bytes:
    """Encode a message object without its braces, so that each protocol adds its own first member.

    Args:
        record: As the log keeps it; audience and site are never shown.

    Returns:
        The members in their fixed order.
    """
    members = b'"channel":%b,"message_id":%d,"global_id":%d,"published_at":%r,"data":%b' % (
        json_text(record.channel.name),
        record.message_id,
        record.global_id,
        record.published_at,
        record.data,
    )
    return members if record.headers is None else b'%b,"headers":%b' % (members, record.headers)


def encode_message(record: Record) -> bytes:
    """Encode a message object.

    Args:
        record: As the log keeps it.

    Returns:
        JSON; it holds line breaks only if the stored data does.
    """
    return b"{%b}" % message_members(record)


def decode_message(text: bytes | str) -> WireMessage:
    """Decode a message object, for clients.

    Args:
        text: JSON.

    Returns:
        The message.

    Raises:
        ProtocolError: The text is no message object.
    """
    try:
        return _decoder.decode(text)
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise ProtocolError(f"this is no message object: {error}", close_code=1007) from error
