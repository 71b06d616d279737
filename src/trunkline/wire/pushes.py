"""What the server says on our WebSocket: answers to requests, messages, positions, farewells."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from trunkline.errors import ProtocolError
from trunkline.model.message import Record
from trunkline.model.position import Position
from trunkline.wire.message import message_members
from trunkline.wire.presence import PRESENCE_PUSHES, PresencePush
from trunkline.wire.start import Refusal
from trunkline.wire.watch import ENTITY_PUSHES, EntityPush

Id = int | str

_encoder: Final = msgspec.json.Encoder()


class Subscribed(msgspec.Struct, frozen=True, tag_field="type", tag="subscribed"):
    """Acknowledge a subscription: these channels from this position, those refused."""

    id: Id
    channels: list[str]
    refused: list[Refusal]
    position: str


class Live(msgspec.Struct, frozen=True, tag_field="type", tag="live"):
    """Say that a subscription's backlog is through."""

    id: Id
    position: str


class Unsubscribed(msgspec.Struct, frozen=True, tag_field="type", tag="unsubscribed"):
    """Acknowledge that channels were given up."""

    id: Id
    channels: list[str]


class Pong(msgspec.Struct, frozen=True, tag_field="type", tag="pong"):
    """Answer a ping."""

    id: Id
    position: str


class Failed(msgspec.Struct, frozen=True, tag_field="type", tag="error"):
    """Say that a request could not be served; without an id when that could not be read."""

    id: Id | None
    code: str
    detail: str


class Pushed(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="message"):
    """Be a message; its fields are those of :class:`~trunkline.wire.message.WireMessage`."""

    channel: str
    message_id: int
    global_id: int
    published_at: float
    data: Any
    headers: dict[str, Any] = msgspec.field(default_factory=dict)


class Moved(msgspec.Struct, frozen=True, tag_field="type", tag="position"):
    """Move the position of all live subscriptions; also the heartbeat."""

    position: str


class Gap(msgspec.Struct, frozen=True, tag_field="type", tag="gap"):
    """Say that messages of these channels before a position were lost."""

    reason: str
    channels: list[str]
    position: str


class Goodbye(msgspec.Struct, frozen=True, tag_field="type", tag="goodbye"):
    """Say that the server closes, why, and after how many milliseconds to come back."""

    reason: str
    retry: int


ChannelPush = Subscribed | Live | Unsubscribed | Pong | Failed | Pushed | Moved | Gap | Goodbye
Push = ChannelPush | EntityPush | PresencePush

_decoder: msgspec.json.Decoder[Push] = msgspec.json.Decoder(Push)
_TYPES: Final = ENTITY_PUSHES | PRESENCE_PUSHES | {
    "subscribed", "live", "unsubscribed", "pong", "error", "message", "position", "gap", "goodbye",
}  # fmt: skip


def encode_subscribed(
    request_id: Id, channels: Iterable[str], refused: Iterable[Refusal], position: Position
) -> bytes:
    """Write the answer to a subscribe or resume request.

    Args:
        request_id: The request's id.
        channels: The names and patterns now subscribed to.
        refused: Those that are not, and why.
        position: Where it starts.

    Returns:
        JSON.
    """
    return _answer(
        request_id,
        "subscribed",
        channels=list(channels),
        refused=list(refused),
        position=str(position),
    )


def encode_live(request_id: Id, position: Position) -> bytes:
    """Write that the backlog of a request's channels is through."""
    return _answer(request_id, "live", position=str(position))


def encode_unsubscribed(request_id: Id, channels: Iterable[str]) -> bytes:
    """Write the answer to an unsubscribe request."""
    return _answer(request_id, "unsubscribed", channels=list(channels))


def encode_pong(request_id: Id, position: Position) -> bytes:
    """Write the answer to a ping request."""
    return _answer(request_id, "pong", position=str(position))


def encode_error(request_id: Id | None, code: str, detail: str) -> bytes:
    """Write that a request failed.

    Args:
        request_id: The request's id, None when it could not be read.
        code: The kind of failure.
        detail: What is wrong and what to do next.

    Returns:
        JSON.
    """
    return _answer(request_id, "error", code=code, detail=detail)


def _answer(request_id: Id | None, kind: str, **members: Any) -> bytes:
    return _encoder.encode({"id": request_id, "type": kind, **members})


def encode_push_message(record: Record) -> bytes:
    """Write a message: the message object with its type before it."""
    return b'{"type":"message",%b}' % message_members(record)


def encode_push_position(position: Position) -> bytes:
    """Write a position that all live subscriptions have reached."""
    return b'{"type":"position","position":"%b"}' % str(position).encode()


def encode_push_gap(reason: str, channels: Iterable[str], position: Position) -> bytes:
    """Write that messages before a position were lost.

    Args:
        reason: ``trimmed`` or ``reset``.
        channels: The affected names and patterns of this connection.
        position: Where it goes on.

    Returns:
        JSON.
    """
    return _encoder.encode(Gap(reason, list(channels), str(position)))


def encode_push_goodbye(reason: str, *, retry_ms: int) -> bytes:
    """Write the last text before the server closes.

    Args:
        reason: ``shutdown``, ``expired``, ``revoked`` or ``slow``.
        retry_ms: How long the client shall wait before it connects again.

    Returns:
        JSON.
    """
    return _encoder.encode(Goodbye(reason, retry_ms))


def parse_push(text: str | bytes) -> Push | None:
    """Read what a server says, for clients.

    Args:
        text: A text frame's payload.

    Returns:
        The value, or None for a type that this release does not know and should ignore.

    Raises:
        ProtocolError: The text is no JSON object, or a known type with wrong members.
    """
    try:
        return _decoder.decode(text)
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        if _is_unknown(text):
            return None
        raise ProtocolError(f"the server sent what is no push: {error}", close_code=1007) from error


def _is_unknown(text: str | bytes) -> bool:
    try:
        given: Any = msgspec.json.decode(text)
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return False
    kind = given.get("type") if isinstance(given, dict) else None
    return isinstance(kind, str) and kind not in _TYPES
