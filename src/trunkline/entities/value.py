"""What a fetch gives: rows, each of some entity; and what watchers are told of it."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from trunkline.errors import AccessDeniedError, MessageTooLargeError
from trunkline.model import codec
from trunkline.model.entity import EntityKey, entity_key
from trunkline.model.message import MAX_MESSAGE_BYTES
from trunkline.wire.watch import Version

_GONE: Final = b"gone"


class Row(NamedTuple):
    """Be one row of a fetch's answer.

    Args:
        value: Any JSON value.
        key: Whose it is, ``(entity, id)``; the watched entity's without one.
    """

    value: Any
    key: tuple[str, Any] | None = None


class State:
    """Be the state of an entity as one scope sees it, at one version.

    Args:
        key: What is watched.
        version: How new it is.
        rows: Keys and encoded values; none when it is gone or not to be seen.
        is_denied: Whether the fetch refused to show it.

    Attributes:
        digest: Equal for equal rows.
    """

    __slots__ = ("_frames", "digest", "is_denied", "key", "rows", "version")

    def __init__(
        self,
        key: EntityKey,
        version: Version,
        rows: tuple[tuple[EntityKey, bytes], ...],
        *,
        is_denied: bool = False,
    ) -> None:
        self.key = key
        self.version = version
        self.rows = rows
        self.is_denied = is_denied
        self.digest = _digest(rows)
        self._frames: dict[str, Any] = {}

    @property
    def is_gone(self) -> bool:
        """Tell whether there is nothing to be seen."""
        return not self.rows

    def framed(self, name: str, make: Callable[[State], Any]) -> Any:
        """Return its frames as one protocol writes them, made once and shared by all watchers.

        Args:
            name: Names the protocol.
            make: Makes them.
        """
        found = self._frames.get(name)
        if found is None:
            found = self._frames[name] = make(self)
        return found


class Failure(NamedTuple):
    """Be what watchers are told when a state cannot be had.

    Args:
        key: What is watched.
        code: ``fetch-failed``, ``fetch-timeout``, ``fetch-unencodable`` or ``fetch-too-large``.
        detail: What happened, without the application's secrets.
    """

    key: EntityKey
    code: str
    detail: str


def state_of(key: EntityKey, version: Version, given: Any) -> State:
    """Make a state from what a fetch gave.

    Args:
        key: What is watched.
        version: How new it is.
        given: A value, a list of rows (values or :class:`Row`), None, or an
            :class:`AccessDeniedError`.

    Raises:
        UnencodableDataError: It holds what strict JSON cannot carry.
        MessageTooLargeError: It is larger than a message may be.
        GrammarError: A row's key is none.
    """
    if given is None:
        return State(key, version, ())
    if isinstance(given, AccessDeniedError):
        return State(key, version, (), is_denied=True)
    rows = given if isinstance(given, list) else [given]
    encoded = tuple(_encoded(key, one) for one in rows)
    size = sum(len(value) for _, value in encoded)
    if size > MAX_MESSAGE_BYTES:
        raise MessageTooLargeError(size, MAX_MESSAGE_BYTES)
    return State(key, version, encoded)


def _encoded(key: EntityKey, given: Any) -> tuple[EntityKey, bytes]:
    row = given if isinstance(given, Row) else Row(given)
    return (key if row.key is None else entity_key(*row.key)), codec.encode(row.value)


def _digest(rows: tuple[tuple[EntityKey, bytes], ...]) -> bytes:
    if not rows:
        return _GONE
    hashed = blake2b(digest_size=16)
    for key, value in rows:
        # Lengths keep the parts apart.
        for part in (key.entity.encode(), key.id.encode(), value):
            hashed.update(len(part).to_bytes(8, "big"))
            hashed.update(part)
    return hashed.digest()
