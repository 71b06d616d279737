"""A place in a line: one value that resumes any set of channels."""

from __future__ import annotations

import re
from typing import NamedTuple

from trunkline.errors import GrammarError

EPOCH_BYTES = 6
_TEXT = re.compile(r"([0-9a-z]{1,32})-([0-9]{1,19})\Z")


class Position(NamedTuple):
    """Name the last message a reader has seen: the line's epoch and a global id.

    The epoch is a stored random value; it changes when a line is reset or restored, because
    then the same numbers name other messages.
    """

    epoch: str
    global_id: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.global_id}"


def parse_position(text: str) -> Position | None:
    """Parse a position's text form.

    Args:
        text: ``epoch-global_id`` as :class:`Position` prints it, or ``0`` for the oldest kept.

    Returns:
        The position, or None for a bare ``0``.

    Raises:
        GrammarError: The text is neither.
    """
    if text == "0":
        return None
    found = _TEXT.match(text)
    if found is None:
        raise GrammarError(f"{text[:60]!r} is no position: use one you were given, or 0")
    number = int(found[2])
    if number >= 2**63:
        raise GrammarError(f"{text[:60]!r} is no position: its number is too large")
    return Position(found[1], number)
