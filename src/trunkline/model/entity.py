"""Entity keys: the pair (entity, id) that names one thing on a screen, and its grammar."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple
from uuid import UUID

from trunkline.errors import GrammarError

MAX_ENTITY_BYTES: Final = 64
MAX_ID_BYTES: Final = 255
MAX_PREFIX_BYTES: Final = 64

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class EntityKey(NamedTuple):
    """Name one entity. It is a pair and never a joined text: ("a", "b.c") is not ("a.b", "c").

    Args:
        entity: What kind of thing, such as ``items``.
        id: Which one.
    """

    entity: str
    id: str


def check_entity(name: str) -> str:
    """Check the name of a kind of entity and return it.

    Args:
        name: The name.

    Raises:
        GrammarError: It is no text, empty, too long, or has control characters.
    """
    return _checked("an entity's name", name, MAX_ENTITY_BYTES)


def check_id(text: str) -> str:
    """Check an entity's id as it stands on the wire and return it.

    Args:
        text: The id.

    Raises:
        GrammarError: It is no text, empty, too long, or has control characters.
    """
    return _checked("an entity's id", text, MAX_ID_BYTES)


def entity_key(entity: str, given: Any) -> EntityKey:
    """Make a key from what an application has at hand.

    Args:
        entity: The kind.
        given: The id: text, an integer or a UUID; the latter two as text.

    Returns:
        The key.

    Raises:
        GrammarError: The kind or the id is none.
    """
    if isinstance(given, UUID) or (isinstance(given, int) and not isinstance(given, bool)):
        given = str(given)
    return EntityKey(check_entity(entity), check_id(given))


def _checked(what: str, text: Any, most: int) -> str:
    if not isinstance(text, str):
        raise GrammarError(f"{what} is text, not {type(text).__name__}")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise GrammarError(f"{what} is not valid UTF-8: {text[:40]!r}") from None
    if not 0 < size <= most:
        raise GrammarError(f"{what} has 1 to {most} bytes: {text[:40]!r}")
    if _CONTROL.search(text):
        raise GrammarError(f"{what} has no control characters: {text[:40]!r}")
    return text
