"""One segment of a dotted name, as text and as part of a pattern.

A value becomes a segment by percent-encoding (RFC 3986, section 2.1) what the name grammar needs
for itself, so that values with dots keep their name's shape and come back as they were.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum, IntEnum, auto
from typing import Final
from uuid import UUID

from trunkline.errors import GrammarError

#: The segment of an empty value: every other ``%`` is followed by two digits.
EMPTY: Final = "%"

_UNSAFE = re.compile(r"[\x00-\x20\x7f-\x9f%.*:/?$|]")
_ESCAPE = re.compile(r"%([0-9A-F]{2})")
_PARAMETER = re.compile(r":([A-Za-z_][A-Za-z0-9_]*)(\??)\Z")


class Sort(IntEnum):
    """Say what a segment of a pattern stands for; the more specific sorts first."""

    LITERAL = auto()
    PARAMETER = auto()
    OPTIONAL = auto()
    ANY = auto()
    REST = auto()
    #: spool-broadcast's ``*``: one or more segments, empty ones too, anywhere.
    SPAN = auto()


@dataclass(frozen=True, slots=True)
class Segment:
    """Be one segment of a pattern.

    Args:
        sort: What it stands for.
        text: The literal text, or the parameter's name; empty for wildcards.
    """

    sort: Sort
    text: str = ""

    @property
    def is_parameter(self) -> bool:
        """Tell whether it captures."""
        return self.sort in {Sort.PARAMETER, Sort.OPTIONAL}

    @property
    def is_wide(self) -> bool:
        """Tell whether it may stand for several segments."""
        return self.sort in {Sort.REST, Sort.SPAN}

    def takes(self, segment: str) -> bool:
        """Tell whether it may stand for one given segment of a name."""
        if self.sort is Sort.LITERAL:
            return segment == self.text
        return bool(segment) or self.sort is Sort.SPAN


def read_segment(text: str, pattern: str, *, legacy: bool = False) -> Segment:
    """Return the segment that a piece of a pattern's text says.

    Args:
        text: What stands between two dots.
        pattern: The whole pattern, for the error.
        legacy: Read ``*`` as spool-broadcast does.

    Returns:
        The segment.

    Raises:
        GrammarError: It is empty, or mixes text and wildcard.
    """
    if legacy and text.startswith("*"):
        return Segment(Sort.SPAN)
    if text in {"*", "**"}:
        return Segment(Sort.ANY if text == "*" else Sort.REST)
    if found := _PARAMETER.match(text):
        return Segment(Sort.OPTIONAL if found[2] else Sort.PARAMETER, found[1])
    if not text or ":" in text or "*" in text:
        raise GrammarError(
            f"{text!r} is no segment of a pattern (in {pattern!r}): write text, '*', '**', ':name' "
            f"or ':name?', and '%2A' or '%3A' for a '*' or ':' that stands for itself"
        )
    return Segment(Sort.LITERAL, text)


def encode(value: object) -> str:
    """Return a value as one segment of a name.

    Args:
        value: Text, a number, a truth value, a UUID, a date or time, or an enum of these.

    Returns:
        The segment; :func:`decode` returns the value's text.

    Raises:
        GrammarError: The value has no text of its own.
    """
    text = value if type(value) is str else _text(value)
    if not text:
        return EMPTY
    if _UNSAFE.search(text):
        return _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", text)
    return text


def decode(segment: str) -> str:
    """Return the text that a segment stands for; what is no escape stands for itself."""
    if "%" not in segment:
        return segment
    if segment == EMPTY:
        return ""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), segment)


def _text(value: object) -> str:
    match value:
        case Enum():
            return _text(value.value)
        case bool():
            return "true" if value else "false"
        case str() | int() | float() | UUID() | Decimal():
            return str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case _:
            raise GrammarError(f"a {type(value).__name__} can't be part of a name: {value!r:.80}")


def texts(value: object, count: int) -> tuple[object, ...]:
    """Return what fills *count* places of one parameter: a sequence in order, or one value in all.

    Raises:
        GrammarError: A sequence has another length.
    """
    if not isinstance(value, tuple | list):
        return (value,) * count
    if len(value) != count:
        raise GrammarError(f"{count} values are needed for {count} places, not {len(value)}")
    return tuple(value)
