"""What is said about entities on our WebSocket and event streams: requests, answers, states.

A version says how new an answer is: the line's position before its fetch began, and a mark of the
scope it was fetched for, so that what one viewer was shown is never taken for another's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from trunkline.errors import GrammarError, LimitExceededError
from trunkline.model.entity import EntityKey, check_entity, check_id
from trunkline.model.position import Position, parse_position

MAX_SECRET_CHARACTERS: Final = 64 * 1024

Id = (
    Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
    | Annotated[str, msgspec.Meta(max_length=128)]
)

_VERSION = re.compile(r"([0-9a-z]{1,32}-[0-9]{1,19})\.([0-9a-f]{12})\Z")
_encoder: Final = msgspec.json.Encoder()


class Version(NamedTuple):
    """Say how new an answer is, and whose.

    Args:
        position: The line's position before the fetch began.
        mark: Of the scope it was fetched for, 12 hexadecimal digits.
    """

    position: Position
    mark: str

    def __str__(self) -> str:
        return f"{self.position}.{self.mark}"


def parse_version(text: str | None) -> Version | None:
    """Read a version that a client was given.

    Args:
        text: Its text form; None or empty for no version.

    Returns:
        The version, or None.

    Raises:
        GrammarError: It is none.
    """
    if not text:
        return None
    found = _VERSION.match(text)
    position = parse_position(found[1]) if found else None
    if found is None or position is None:
        raise GrammarError(f"{text[:80]!r} is no version: use one you were given, or none")
    return Version(position, found[2])


# -- requests ---------------------------------------------------------------------------------


class Named(msgspec.Struct, frozen=True, omit_defaults=True):
    """Name an entity, and how new the client's knowledge of it is.

    Args:
        entity: Its kind.
        id: Which one.
        version: The version the client has, None if it knows nothing yet.
    """

    entity: str
    id: str
    version: str | None = None

    @property
    def key(self) -> EntityKey:
        """Return the key."""
        return EntityKey(self.entity, self.id)


class WatchRequest(msgspec.Struct, frozen=True, tag_field="type", tag="watch"):
    """Ask for entities' states and every change of them.

    Args:
        id: The request's id.
        entities: Which; one that is watched already is acknowledged and not told anew.
    """

    id: Id
    entities: list[Named]


class UnwatchRequest(msgspec.Struct, frozen=True, tag_field="type", tag="unwatch"):
    """Give entities up.

    Args:
        id: The request's id.
        entities: Which.
    """

    id: Id
    entities: list[Named]


class SecretRequest(msgspec.Struct, frozen=True, tag_field="type", tag="secret"):
    """Set the secret that the application's fetch is given; everything watched is asked for anew.

    Args:
        id: The request's id.
        secret: Any text, or None for none.
    """

    id: Id
    secret: Annotated[str, msgspec.Meta(max_length=MAX_SECRET_CHARACTERS)] | None


EntityRequest = WatchRequest | UnwatchRequest | SecretRequest


def check_named(entities: Sequence[Named], *, most: int) -> list[Named]:
    """Check the entities of a request.

    Args:
        entities: As they were sent.
        most: How many may be named.

    Returns:
        Each key once, in order, its last mention.

    Raises:
        GrammarError: None is named, or a key or version is outside the grammar.
        LimitExceededError: There are too many.
    """
    if not entities:
        raise GrammarError("name at least one entity")
    if len(entities) > most:
        raise LimitExceededError("max_watches", most, status=400)
    found: dict[EntityKey, Named] = {}
    for one in entities:
        check_entity(one.entity)
        check_id(one.id)
        parse_version(one.version)
        found[one.key] = one
    return list(found.values())


def parse_watch_field(text: str) -> Named:
    """Read a ``watch`` field of an event stream's query: a JSON array of two or three texts.

    Args:
        text: Such as ``["items","100"]`` or ``["items","100","k3f9a2-57.0a1b2c3d4e5f"]``.

    Raises:
        GrammarError: It is none.
    """
    try:
        given = msgspec.json.decode(text, type=list[str])
    except (ValueError, RecursionError, msgspec.MsgspecError):
        given = []
    if len(given) not in {2, 3}:
        raise GrammarError(
            f'watch={text[:80]!r} is no entity: write it as JSON, such as ["items","100"]'
        )
    return Named(*given)


def encode_watch_field(named: Named) -> str:
    """Write a ``watch`` field, for clients."""
    parts = [named.entity, named.id]
    return _encoder.encode(parts if named.version is None else [*parts, named.version]).decode()


# -- answers and pushes -----------------------------------------------------------------------


class EntityRefusal(msgspec.Struct, frozen=True):
    """Name an entity that is not watched, and why.

    Args:
        entity: Its kind.
        id: Which one.
        code: The kind of refusal, such as ``access-denied`` or ``unknown-entity``.
        detail: The reason, and what to do next.
    """

    entity: str
    id: str
    code: str
    detail: str


class Watching(msgspec.Struct, frozen=True, tag_field="type", tag="watching"):
    """Acknowledge a watch request; a state follows for each entity that is not refused.

    Args:
        id: The request's id; None on an event stream.
        entities: What is watched now.
        refused: What is not.
        current: Of the watched ones, those of which the client has the present state.
    """

    id: Id | None
    entities: list[Named]
    refused: list[EntityRefusal]
    current: list[Named] = []


class Refused(msgspec.Struct, frozen=True, tag_field="type", tag="refused"):
    """Say that entities acknowledged before turned out to be refused, and are watched no longer.

    Args:
        id: The request's id; None on an event stream.
        refused: Which, and why.
    """

    id: Id | None
    refused: list[EntityRefusal]


class Unwatched(msgspec.Struct, frozen=True, tag_field="type", tag="unwatched"):
    """Acknowledge that entities were given up."""

    id: Id
    entities: list[Named]


class SecretSet(msgspec.Struct, frozen=True, tag_field="type", tag="secret"):
    """Acknowledge a secret."""

    id: Id


class Row(msgspec.Struct, frozen=True):
    """Be one row of a state; it may belong to another entity than the one that is watched."""

    entity: str
    id: str
    value: Any


class State(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="entity"):
    """Tell an entity's state.

    Args:
        entity: Its kind.
        id: Which one.
        version: How new this is.
        rows: What it consists of.
    """

    entity: str
    id: str
    version: str
    rows: list[Row]


class Removed(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="removed"):
    """Say that an entity is not there, or not to be seen; it stays watched."""

    entity: str
    id: str
    version: str


class FetchFailed(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="failed"):
    """Say that an entity's state cannot be had now; the server goes on trying."""

    entity: str
    id: str
    code: str
    detail: str


class Reply(msgspec.Struct, frozen=True, tag_field="type", tag="reply"):
    """Be what the application answers to a message of its own."""

    data: Any
    id: Id | None = None


EntityPush = Watching | Refused | Unwatched | SecretSet | State | Removed | FetchFailed | Reply
ENTITY_PUSHES: Final = frozenset(
    {"watching", "refused", "unwatched", "secret", "entity", "removed", "failed", "reply"}
)


def encode_push(push: EntityPush) -> bytes:
    """Write an answer or push as JSON."""
    return _encoder.encode(push)


def encode_state(
    key: EntityKey, version: Version, rows: Iterable[tuple[EntityKey, bytes]]
) -> bytes:
    """Write a state from rows that are encoded already.

    Args:
        key: What is watched.
        version: How new it is.
        rows: Each row's key and its value as JSON.

    Returns:
        JSON, as of :class:`State`.
    """
    parts = [b'{%b,"value":%b}' % (_members(one), value) for one, value in rows]
    return b'{"type":"entity",%b,"version":"%b","rows":[%b]}' % (
        _members(key),
        str(version).encode(),
        b",".join(parts),
    )


def encode_removed(key: EntityKey, version: Version) -> bytes:
    """Write that an entity is not there, or not to be seen."""
    return _encoder.encode(Removed(entity=key.entity, id=key.id, version=str(version)))


def encode_failed(key: EntityKey, code: str, detail: str) -> bytes:
    """Write that an entity's state cannot be had now."""
    return _encoder.encode(FetchFailed(entity=key.entity, id=key.id, code=code, detail=detail))


def _members(key: EntityKey) -> bytes:
    return b'"entity":%b,"id":%b' % (_encoder.encode(key.entity), _encoder.encode(key.id))
