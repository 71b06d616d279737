"""What clients say on our WebSocket: requests, each with an id that its answer carries back."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Final

import msgspec

from trunkline.errors import GrammarError, ProtocolError, SocketRequestError, UsageError
from trunkline.wire.frames import CloseCode
from trunkline.wire.presence import (
    FollowRequest,
    PresenceRequest,
    UnfollowRequest,
    check_followed,
)
from trunkline.wire.start import Edge, Start, check_channels, check_last, parse_start, start_text
from trunkline.wire.watch import (
    EntityRequest,
    SecretRequest,
    UnwatchRequest,
    WatchRequest,
    check_named,
)

SUBPROTOCOL: Final = "trunkline.v1"
MAX_ID_CHARACTERS: Final = 128

RequestId = (
    Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
    | Annotated[str, msgspec.Meta(max_length=MAX_ID_CHARACTERS)]
)


class SubscribeRequest(msgspec.Struct, frozen=True, tag_field="type", tag="subscribe"):
    """Ask for channels from one start.

    Args:
        id: The request's id.
        channels: Names or patterns.
        position: A position's text, ``0`` for the oldest kept, None for now.
        last: The newest so many messages of each channel first, instead of a position.
    """

    id: RequestId
    channels: list[str]
    position: str | None = None
    last: int | None = None

    @property
    def start(self) -> Start:
        """Return where to start."""
        return parse_start(self.position)


class ResumeRequest(msgspec.Struct, frozen=True, tag_field="type", tag="resume"):
    """Ask for channels, each from a start of its own.

    Args:
        id: The request's id.
        channels: Name or pattern to a position's text, ``0``, or None for now.
    """

    id: RequestId
    channels: dict[str, str | None]

    @property
    def starts(self) -> dict[str, Start]:
        """Return where to start, per channel."""
        return {name: parse_start(position) for name, position in self.channels.items()}


class UnsubscribeRequest(msgspec.Struct, frozen=True, tag_field="type", tag="unsubscribe"):
    """Give channels up.

    Args:
        id: The request's id.
        channels: Names or patterns, as they were asked for.
    """

    id: RequestId
    channels: list[str]


class PingRequest(msgspec.Struct, frozen=True, tag_field="type", tag="ping"):
    """Ask whether the server is there, and for the position.

    Args:
        id: The request's id.
    """

    id: RequestId


ChannelRequest = SubscribeRequest | ResumeRequest | UnsubscribeRequest | PingRequest
Request = ChannelRequest | EntityRequest | PresenceRequest

_decoder: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_encoder = msgspec.json.Encoder()
_TYPES: Final = frozenset(
    {
        "subscribe",
        "resume",
        "unsubscribe",
        "ping",
        "watch",
        "unwatch",
        "secret",
        "follow",
        "unfollow",
    }
)


def parse_request(
    text: str | bytes, *, max_channels: int = 500, max_watches: int = 1000
) -> Request:
    """Read a request.

    Args:
        text: A text frame's payload.
        max_channels: How many channels one request may name.
        max_watches: How many entities one request may name.

    Returns:
        The request; its channels, positions and numbers are checked.

    Raises:
        ProtocolError: The text is no JSON object: the connection should be closed.
        SocketRequestError: The request cannot be served as it is; it names the request's id when
            that can be read, and the connection goes on.
    """
    try:
        request = _decoder.decode(text)
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise _explain(text, error) from error
    try:
        if isinstance(request, WatchRequest | UnwatchRequest):
            named = check_named(request.entities, most=max_watches)
            return msgspec.structs.replace(request, entities=named)
        return _checked(request, max_channels)
    except UsageError as error:
        raise SocketRequestError(error, request.id) from error


def _checked(request: Request, max_channels: int) -> Request:
    if isinstance(request, PingRequest | SecretRequest | WatchRequest | UnwatchRequest):
        return request
    if isinstance(request, FollowRequest | UnfollowRequest):
        followed = check_followed(request.channels, max_channels=max_channels)
        return msgspec.structs.replace(request, channels=followed)
    names = check_channels(request.channels, max_channels=max_channels)
    if isinstance(request, SubscribeRequest):
        check_last(request.last, names, request.start)
    elif isinstance(request, ResumeRequest) and request.starts:
        return request
    return msgspec.structs.replace(request, channels=list(names))


def _explain(text: str | bytes, error: Exception) -> ProtocolError | SocketRequestError:
    """Tell a text that is no object from an object that is no request."""
    try:
        given: Any = msgspec.json.decode(text)
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return ProtocolError(f"this is no JSON: {error}", close_code=CloseCode.INVALID_PAYLOAD)
    if not isinstance(given, dict):
        return ProtocolError(
            "a request must be a JSON object", close_code=CloseCode.INVALID_PAYLOAD
        )
    request_id = given.get("id")
    is_readable = isinstance(request_id, (int, str)) and not isinstance(request_id, bool)
    if isinstance(request_id, int) and not -(2**63) <= request_id < 2**63:
        is_readable = False
    if isinstance(request_id, str) and len(request_id) > MAX_ID_CHARACTERS:
        is_readable = False
    mistake = GrammarError(f"this is no request: {error}")
    return SocketRequestError(mistake, request_id if is_readable else None)


class Origin(Enum):
    """Tell whose a text is that is no request.

    OURS: it tries to be a request. APPLICATION: an object that names no type. UNKNOWN: one whose
    type we don't know, or no JSON object at all.
    """

    OURS = "ours"
    APPLICATION = "application"
    UNKNOWN = "unknown"


def origin_of(text: str | bytes) -> Origin:
    """Tell whose a text is that :func:`parse_request` refused."""
    try:
        given: Any = msgspec.json.decode(text)
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return Origin.UNKNOWN
    if not isinstance(given, dict):
        return Origin.UNKNOWN
    kind = given.get("type")
    if kind is None or kind == "":
        return Origin.APPLICATION
    return Origin.OURS if isinstance(kind, str) and kind in _TYPES else Origin.UNKNOWN


def encode_request(request: Request) -> bytes:
    """Write a request, for clients."""
    return _encoder.encode(request)


def resume_request(request_id: int | str, starts: dict[str, Start]) -> ResumeRequest:
    """Make a request that resumes channels, each where it was left, for clients."""
    return ResumeRequest(request_id, {name: start_text(start) for name, start in starts.items()})


def subscribe_request(
    request_id: int | str,
    channels: list[str],
    start: Start = Edge.NOW,
    *,
    last: int | None = None,
) -> SubscribeRequest:
    """Make a request for channels from one start, for clients."""
    return SubscribeRequest(request_id, channels, start_text(start), last)
