"""What services say to each other: events, registrations, and the wish to hear no more.

Source: the Toot gem's requests, byte by byte, and WebSub (W3C Recommendation, 5.3) for the question
whether a callback's owner wants it. Events of our own format are the same objects with a timestamp
that keeps its fraction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, urlencode

import msgspec

from trunkline.errors import GrammarError, InvalidMessageError, UnencodableDataError
from trunkline.model import codec

Format = Literal["standard", "toot"]

#: Says, on an answer to a callback, that its channel is not wanted any more.
UNSUBSCRIBE: Final = "X-Toot-Unsubscribe"
#: Says for how many seconds a subscription stands.
LEASE: Final = "X-Trunkline-Lease"
#: Names the peer that signed a request.
PEER: Final = "X-Trunkline-Peer"
#: The longest name of a channel between services.
LONGEST_CHANNEL: Final = 200
RESERVED: Final = "trunkline."

_CHANNEL: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*", re.ASCII)
_PREFIX: Final = re.compile(r"(?:[A-Za-z0-9_-]+\.)*[A-Za-z0-9_-]*", re.ASCII)
_ID: Final = re.compile(r"[!-~]{1,200}", re.ASCII)
_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d{1,6})?\d* ?(?:(Z|UTC)|([+-])(\d\d):?(\d\d))?",
    re.ASCII,
)


class Event(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Be something that happened at a service. Two with the same id are the same.

    Args:
        id: Names it for ever.
        timestamp: When it happened; always aware of its zone.
        channel: Its full name, such as ``org.example.users.updated.v1``.
        payload: Any JSON value, an object as a rule.
    """

    id: str
    timestamp: datetime
    channel: str
    payload: Any

    def __getitem__(self, key: Any) -> Any:
        """Return an item of the payload."""
        return self.payload[key]

    def __eq__(self, other: object) -> bool:
        """Tell whether both are the same event."""
        return self.id == other.id if isinstance(other, Event) else NotImplemented

    def __hash__(self) -> int:
        """Hash it by its id."""
        return hash(self.id)

    def encode(self, how: Format) -> bytes:
        """Return the body that tells of it.

        Args:
            how: ``toot`` writes the timestamp as Ruby does, to the second.
        """
        stamp = write_ruby_time(self.timestamp) if how == "toot" else write_time(self.timestamp)
        return codec.encode(
            {
                "id": self.id,
                "timestamp": stamp,
                "payload": self.payload,
                "channel": self.channel,
            }
        )


def check_channel(name: object) -> str:
    """Return a channel's name.

    Raises:
        GrammarError: It is none: letters, digits, ``_``, ``-``, in parts with dots between them.
    """
    if not isinstance(name, str) or not _CHANNEL.fullmatch(name) or len(name) > LONGEST_CHANNEL:
        raise GrammarError(
            f"a channel between services has at most {LONGEST_CHANNEL} letters, digits, '_', '-' "
            "in parts with dots between them, such as org.example.users.updated.v1"
        )
    if name.startswith(RESERVED):
        raise GrammarError(f"channels that begin with {RESERVED!r} are ours")
    return name


def check_prefix(prefix: str) -> str:
    """Return a prefix, which names are put behind as they are; it ends with a dot as a rule.

    Raises:
        GrammarError: No channel could begin with it.
    """
    if not _PREFIX.fullmatch(prefix):
        raise GrammarError(f"no channel begins with {prefix!r}: write it as org.example.")
    return prefix


def check_event_id(given: object) -> str:
    """Return an event's id.

    Raises:
        InvalidMessageError: It is no visible ASCII of at most 200 characters.
    """
    if not isinstance(given, str) or not _ID.fullmatch(given):
        raise InvalidMessageError("an event's id is text: at most 200 visible ASCII characters")
    return given


def write_time(moment: datetime) -> str:
    """Return a moment as RFC 3339 has it, in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def write_ruby_time(moment: datetime) -> str:
    """Return a moment as Ruby's ``Time#to_s`` does: ``2026-11-20 21:41:19 +0000``."""
    return moment.strftime("%Y-%m-%d %H:%M:%S %z")[:25]


def read_time(text: str) -> datetime:
    """Read a moment in either form; without a zone it is UTC.

    Raises:
        InvalidMessageError: It is none.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise InvalidMessageError("an event's timestamp is RFC 3339, or as Ruby writes one")
    day, time, fraction, _, sign, hours, minutes = found.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    try:
        zone = timezone(-offset if sign == "-" else offset) if offset else UTC
        micros = int((fraction or ".0")[1:].ljust(6, "0"))
        naive = datetime.fromisoformat(f"{day}T{time}")
        return naive.replace(microsecond=micros, tzinfo=zone)
    except ValueError:
        raise InvalidMessageError("an event's timestamp is no moment that there is") from None


def read_event(body: bytes, *, default_id: str, now: datetime) -> Event:
    """Read the body of a callback.

    Args:
        body: As it came.
        default_id: For an event without an id.
        now: For an event without a timestamp.

    Raises:
        InvalidMessageError: It is no event.
        GrammarError: Its channel has a name that none can have.
    """
    found = read_object(body)
    ident, stamp = found.get("id"), found.get("timestamp")
    if stamp is not None and not isinstance(stamp, str):
        raise InvalidMessageError("an event's timestamp is text")
    return Event(
        id=default_id if ident is None else check_event_id(ident),
        timestamp=now if stamp is None else read_time(stamp),
        channel=check_channel(found.get("channel")),
        payload=found.get("payload", {}),
    )


def read_object(body: bytes) -> Mapping[str, Any]:
    """Read a JSON object.

    Raises:
        InvalidMessageError: It is something else.
    """
    try:
        found = codec.decode(body)
    except UnencodableDataError:
        raise InvalidMessageError("the body is not JSON") from None
    if not isinstance(found, dict):
        raise InvalidMessageError("the body is not a JSON object")
    return found


def encode_registration(callback_url: str, channel: str, lease: float | None = None) -> bytes:
    """Return the body that subscribes.

    Args:
        callback_url: Where to be called.
        channel: Of what.
        lease: Seconds for which to be called; None for Toot, which has no such thing.
    """
    body: dict[str, Any] = {"callback_url": callback_url, "channel": channel}
    if lease is not None:
        body["lease_seconds"] = int(lease)
    return codec.encode(body)


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """Be a wish to be called, as it came."""

    channel: str
    callback_url: str
    lease: float | None


def read_registration(body: bytes) -> Registration:
    """Read the body that subscribes.

    Raises:
        InvalidMessageError: A field is missing, or is of a wrong kind.
    """
    found = read_object(body)
    for name in ("channel", "callback_url"):
        if not isinstance(found.get(name), str) or not found[name]:
            raise InvalidMessageError(f"{name} is missing, or is no text")
    lease = found.get("lease_seconds")
    if lease is not None and (
        not isinstance(lease, int | float) or isinstance(lease, bool) or not 1 <= lease <= 1e9
    ):
        raise InvalidMessageError("lease_seconds is a number of seconds, at least 1")
    return Registration(
        channel=found["channel"],
        callback_url=found["callback_url"],
        lease=None if lease is None else float(lease),
    )


def wants_no_more(headers: Mapping[str, str]) -> bool:
    """Tell whether an answer truly says that it unsubscribes.

    Args:
        headers: The answer's, in any case.
    """
    return any(
        name.lower() == UNSUBSCRIBE.lower() and value.strip().lower() in {"true", "1", "yes"}
        for name, value in headers.items()
    )


def signed_content(method: str, query: str, body: bytes) -> bytes:
    """Return what the signature of a request to a service covers, beside id and timestamp.

    The path is left out, for proxies change it, and the query is taken as what it means, for HTTP
    clients write it in their own ways; a signature of one verb is none of another.
    """
    pairs = urlencode(parse_qsl(query, keep_blank_values=True))
    return b"%s ?%s\n%s" % (method.upper().encode(), pairs.encode(), body)
