"""What a client asks for when it opens an event stream: the query and the last event id."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

import msgspec

from trunkline.errors import GrammarError, LimitExceededError, UsageError
from trunkline.wire.start import (
    Edge,
    Start,
    check_channels,
    check_client_id,
    check_last,
    parse_start,
    start_text,
)
from trunkline.wire.watch import Named, check_named, encode_watch_field, parse_watch_field

# Besides channels: what we know of, and a few that applications add for their own hooks.
_OTHER_FIELDS = 32


class EventStreamRequest(msgspec.Struct, frozen=True):
    """Be what an event stream shall carry.

    Args:
        channels: Names or patterns, each once.
        start: Where to start.
        last: The newest so many messages of each channel first, or None.
        client_id: The client's own id, or None.
        watches: Entities, each once.
    """

    channels: tuple[str, ...]
    start: Start = Edge.NOW
    last: int | None = None
    client_id: str | None = None
    watches: tuple[Named, ...] = ()


def parse_stream_request(
    query: bytes | str,
    last_event_id: str | None = None,
    *,
    max_channels: int = 500,
    max_watches: int = 1000,
) -> EventStreamRequest:
    """Read a request for an event stream.

    Args:
        query: The raw query string.
        last_event_id: The Last-Event-ID header, or None. It wins over ``position`` and ``last``,
            for a browser that comes back repeats its first URL.
        max_channels: How many channels may be named.
        max_watches: How many entities may be named.

    Returns:
        The request. Fields that we don't know are left to the application's hooks.

    Raises:
        UsageError: The query is no UTF-8 form, or ``last`` is no number.
        GrammarError: A channel, position or client id is outside the grammar.
        LimitExceededError: It names too many channels or fields.
    """
    named = query.count(b"watch=") if isinstance(query, bytes) else query.count("watch=")
    room = max_channels + _OTHER_FIELDS + min(named, max_watches)
    pairs = parse_query(query, max_fields=room)
    single = dict(pairs)
    watches = _watches([value for name, value in pairs if name == "watch"], max_watches)
    names = [value for name, value in pairs if name == "channel"]
    # Whoever watches entities need not name channels, too.
    channels = check_channels(names, max_channels=max_channels) if names or not watches else ()
    client_id = check_client_id(single.get("client_id"))
    if last_event_id:
        start = parse_start(last_event_id)
        return EventStreamRequest(channels, start, None, client_id, watches)
    start = parse_start(single.get("position"))
    last = check_last(_count(single.get("last")), channels, start)
    return EventStreamRequest(channels, start, last, client_id, watches)


def _watches(texts: list[str], most: int) -> tuple[Named, ...]:
    named = [parse_watch_field(text) for text in texts]
    return tuple(check_named(named, most=most)) if named else ()


def parse_query(query: bytes | str, *, max_fields: int = _OTHER_FIELDS) -> list[tuple[str, str]]:
    """Split a query string.

    Args:
        query: The raw query string.
        max_fields: How many fields it may have.

    Returns:
        Names and values, decoded, in order.

    Raises:
        UsageError: It is no UTF-8.
        LimitExceededError: It has too many fields.
    """
    try:
        text = query.decode() if isinstance(query, bytes) else query
        if text.count("&") >= max_fields:
            raise LimitExceededError("max_query_fields", max_fields, status=400)
        return parse_qsl(text, keep_blank_values=True, errors="strict")
    except ValueError as error:
        raise UsageError(f"the query string is no UTF-8 text: {error}") from error


def _count(text: str | None) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise GrammarError(f"last={text[:40]!r} is no number")
    return int(text)


def encode_stream_query(request: EventStreamRequest) -> str:
    """Write the query string of a request, for clients."""
    fields = [("channel", channel) for channel in request.channels]
    fields += [("watch", encode_watch_field(one)) for one in request.watches]
    fields.append(("position", start_text(request.start) or ""))
    fields.append(("last", "" if request.last is None else str(request.last)))
    fields.append(("client_id", request.client_id or ""))
    return urlencode([(name, value) for name, value in fields if value])
