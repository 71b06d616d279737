"""message_bus's poll request: what a client asks for, and which kind of answer it gets.

The protocol is that of the Ruby gem message_bus 4.5 and the npm package message-bus-client, written
down in ``docs/wire/poll.md``. Where the original answers malformed requests with a server error, or
with the whole backlog, this parser raises an error that becomes a 400.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, quote

import msgspec

from trunkline.errors import LimitExceededError, UsageError
from trunkline.model.channel import check_readable
from trunkline.wire.start import check_client_id

SEQUENCE_FIELD: Final = "__seq"
NO_HOLD_MARK: Final = b"dlp=t"
FORM_TYPE: Final = "application/x-www-form-urlencoded"
JSON_TYPE: Final = "application/json"
MAX_NUMBER: Final = 2**63 - 1

# Leading blanks, a sign, digits that single underscores may group: what Ruby's String#to_i reads.
_LEADING_INTEGER = re.compile(r"\s*([+-]?[0-9]{1,24}(?:_[0-9]{1,24}){0,24})(?![0-9])", re.ASCII)
_SLASHES = re.compile(r"/{2,}")


class PollRequest(msgspec.Struct, frozen=True):
    """Be what a poll asks for.

    Args:
        positions: Channel to the id the client has, in request order; None for "the current one".
        seq: The number of the request, counted by the client; 0 when it gave none.
        allow_hold: Whether the request may be held open (no ``dlp=t`` in its query).
    """

    positions: dict[str, int | None]
    seq: int = 0
    allow_hold: bool = True


class Resolution(NamedTuple):
    """Say where to read a channel from.

    Args:
        after: Messages with a higher id are the answer.
        wants_status: Whether the status message must tell the channel's last id.
    """

    after: int
    wants_status: bool


class Mode(Enum):
    """Name the ways to answer a poll."""

    PLAIN = "plain"
    STREAM = "stream"
    HELD = "held"


class Terms(NamedTuple):
    """Hold what decides about the kind of answer, besides the request itself.

    Args:
        http_version: ASGI's ``http_version``; chunks need 1.1 (2 and 3 stream by themselves).
        refuses_chunks: Whether the request has a ``Dont-Chunk`` header, whatever its value.
        chunked_encoding_enabled: The server's switch.
        long_polling_enabled: The server's switch.
        held: Connections this process holds now.
        max_active_clients: How many it may hold.
    """

    http_version: str
    refuses_chunks: bool
    chunked_encoding_enabled: bool
    long_polling_enabled: bool
    held: int
    max_active_clients: int


def parse_request(
    body: bytes, content_type: str | None, query: bytes | str = b"", *, max_channels: int = 500
) -> PollRequest:
    """Read a poll request.

    Args:
        body: The request's body.
        content_type: Its Content-Type, or None. JSON if it contains ``application/json``, a form
            if it is missing or a form's, anything else subscribes to nothing.
        query: The raw query string.
        max_channels: How many channels a request may name.

    Returns:
        The request; a duplicate channel counts with its last position.

    Raises:
        UsageError: The body is malformed, nested, or has a position that is no integer.
        GrammarError: A channel's name cannot be one.
        LimitExceededError: It names too many channels.
    """
    raw_query = query.encode("utf-8", "replace") if isinstance(query, str) else query
    allow_hold = NO_HOLD_MARK not in raw_query
    kind = (content_type or "").strip().lower()
    if JSON_TYPE in kind:
        fields = _json_fields(body)
    elif not kind or re.split("[;,]", kind)[0].strip() == FORM_TYPE:
        fields = _form_fields(body, max_channels)
    else:
        fields = {}
    seq = _number(SEQUENCE_FIELD, fields.pop(SEQUENCE_FIELD, None)) or 0
    if len(fields) > max_channels:
        raise _too_many(max_channels)
    positions = {check_readable(name): _number(name, given) for name, given in fields.items()}
    return PollRequest(positions, seq, allow_hold)


def _too_many(max_channels: int) -> LimitExceededError:
    return LimitExceededError("max_channels", max_channels, status=400)


def _json_fields(body: bytes) -> dict[str, Any]:
    try:
        fields = msgspec.json.decode(body)
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise UsageError(f"the body is no JSON: {error}") from error
    if not isinstance(fields, dict):
        raise UsageError('the body must be a JSON object: {"/channel": position, …}')
    return fields


def _form_fields(body: bytes, max_channels: int) -> dict[str, Any]:
    try:
        text = body.decode()
        if text.count("&") > max_channels + 1:
            raise _too_many(max_channels)
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict")
    except ValueError as error:
        raise UsageError(f"the body is no form of UTF-8 text: {error}") from error
    for name, _ in pairs:
        if "[" in name:
            raise UsageError(
                f"the form field {name[:60]!r} is nested: send a name that has '[' as JSON"
            )
    return dict(pairs)


def _number(name: str, given: Any) -> int | None:
    """Convert a position as Ruby does where it makes sense, and refuse it where it does not."""
    number: int | None = None
    if isinstance(given, str) and (found := _LEADING_INTEGER.match(given)):
        number = int(found[1])
    elif isinstance(given, int) and not isinstance(given, bool):
        number = given
    elif isinstance(given, float) and math.isfinite(given):
        number = math.trunc(given)
    elif given is None or given == "":
        return None
    if number is None or not -MAX_NUMBER <= number <= MAX_NUMBER:
        shown = repr(given)[:40]
        raise UsageError(f"{name[:60]!r}: {shown} is no position: use an integer, or null for now")
    return number


def resolve(requested: int | None, last_id: int) -> Resolution:
    """Decide where to read a channel from.

    Args:
        requested: The client's position: an id, -1 for new messages only, -N for the last N-1
            messages and new ones, None for the current id without being told it.
        last_id: The channel's last id.

    Returns:
        Where to read from, and whether the client must be told the last id. A position ahead of
        the channel (it was reset, or the id is another channel's) counts as -1.
    """
    if requested is None:
        return Resolution(last_id, wants_status=False)
    if requested == -1 or requested > last_id:
        return Resolution(last_id, wants_status=True)
    if requested < 0:
        return Resolution(max(0, last_id + requested + 1), wants_status=False)
    return Resolution(requested, wants_status=False)


def choose_mode(request: PollRequest, terms: Terms, *, is_empty: bool) -> Mode:
    """Choose how to answer.

    Args:
        request: What the client asked for.
        terms: What the server allows now.
        is_empty: Whether nothing is there to be told at once.

    Returns:
        ``PLAIN``: answer now and be done. ``STREAM``: write blocks until the interval ends.
        ``HELD``: answer once, with the first message or at the end of the interval.
    """
    may_hold = (
        request.allow_hold and terms.long_polling_enabled and terms.held < terms.max_active_clients
    )
    may_stream = (
        terms.chunked_encoding_enabled
        and not terms.refuses_chunks
        and terms.http_version not in {"0.9", "1.0"}
    )
    if not may_hold or (not may_stream and not is_empty):
        return Mode.PLAIN
    return Mode.STREAM if may_stream else Mode.HELD


def mount_prefix(base_path: str) -> str:
    """Return the path under which clients poll.

    Args:
        base_path: Where the gateway is mounted; slashes may be missing or doubled.

    Returns:
        ``<base>/message-bus/`` with exactly one slash at each joint.
    """
    return _SLASHES.sub("/", f"/{base_path}/message-bus/")


def client_id_in(path: str, prefix: str) -> str | None:
    """Find the client id in a request's path: the first segment after the prefix.

    Args:
        path: The decoded path.
        prefix: As :func:`mount_prefix` returns it.

    Returns:
        The id (what follows it is ignored), or None when nothing follows the prefix.

    Raises:
        GrammarError: The id is too long or has control characters.
    """
    rest = path.removeprefix(prefix)
    if rest == path or not rest:
        return None
    return check_client_id(rest.partition("/")[0])


def encode_form(positions: Mapping[str, int | None], seq: int | None = None) -> bytes:
    """Write a poll's body as a form, for clients.

    Args:
        positions: Channel to position.
        seq: The number of the request.

    Returns:
        The body, of type ``application/x-www-form-urlencoded``.
    """
    fields: Iterable[tuple[str, int | None]] = positions.items()
    if seq is not None:
        fields = [*fields, (SEQUENCE_FIELD, seq)]
    parts = (f"{quote(name, safe='')}={'' if at is None else at}" for name, at in fields)
    return "&".join(parts).encode()


def encode_json(positions: Mapping[str, int | None], seq: int | None = None) -> bytes:
    """Write a poll's body as JSON, for clients.

    Args:
        positions: Channel to position.
        seq: The number of the request.

    Returns:
        The body, of type ``application/json``.
    """
    fields = dict(positions)
    if seq is not None:
        fields[SEQUENCE_FIELD] = seq
    return msgspec.json.encode(fields)
