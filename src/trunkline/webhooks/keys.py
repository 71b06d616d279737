"""Ids of accounts and objects: text, UUIDs and whole numbers, kept apart by type."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import msgspec

from trunkline.webhooks.errors import SignalError

Key = str | int | UUID

LARGEST: Final = 2**63 - 1
LONGEST: Final = 255


def checked_key(what: str, value: Any) -> Key:
    """Return an id as it is.

    Args:
        what: Names it in the error.
        value: Anything.

    Raises:
        SignalError: It is none, or too large.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | UUID):
        raise SignalError(
            f"{what} {value!r} must be text, a UUID or a whole number, not {type(value).__name__}"
        )
    if isinstance(value, int) and not -LARGEST <= value <= LARGEST:
        raise SignalError(f"{what} {value} has more than 64 bits: give it as text")
    if isinstance(value, str):
        _check_text(what, value)
    return value


def _check_text(what: str, value: str) -> None:
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise SignalError(f"{what} {value!r} is not valid UTF-8") from None
    if not 1 <= size <= LONGEST or "\0" in value:
        raise SignalError(f"{what} {value[:40]!r} must have 1 to {LONGEST} bytes and no NUL")


def key_json(key: Key) -> Any:
    """Return an id as a JSON value that tells its type."""
    return {"uuid": str(key)} if isinstance(key, UUID) else key


def key_text(key: Key) -> str:
    """Return an id as JSON text, as the tables keep it."""
    return msgspec.json.encode(key_json(key)).decode()


def key_of(value: Any) -> Key:
    """Return the id that a JSON value of :func:`key_json` stands for."""
    return UUID(value["uuid"]) if isinstance(value, dict) else value


def key_from(text: str) -> Key:
    """Return the id of a text that :func:`key_text` wrote."""
    return key_of(msgspec.json.decode(text))


def read_key(text: str) -> Key:
    """Return the id that somebody typed: a whole number, a UUID, or the text itself.

    Args:
        text: As on a command line; ``"4"`` in quotes is text.
    """
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1]
    try:
        return int(text) if str(int(text)) == text else text
    except ValueError:
        pass
    try:
        return UUID(text) if str(UUID(text)) == text.lower() else text
    except ValueError:
        return text
