"""Where a listener starts: a position it was given, the oldest kept message, or now."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import overload

import msgspec

from trunkline.errors import GrammarError, LimitExceededError
from trunkline.model.channel import check_readable
from trunkline.model.pattern import channel_pattern, is_pattern
from trunkline.model.position import Position, parse_position

MAX_LAST = 10_000
MAX_CLIENT_ID_BYTES = 255


class Edge(Enum):
    """Name the two starts that need no position: the oldest kept message, and now."""

    OLDEST = "0"
    NOW = None


Start = Position | Edge


class Refusal(msgspec.Struct, frozen=True):
    """Name a channel that was refused, and why.

    Args:
        channel: The name or pattern asked for.
        code: The kind of refusal, such as ``access-denied``.
        detail: The reason, and what to do next.
    """

    channel: str
    code: str
    detail: str


def parse_start(text: str | None) -> Start:
    """Read where to start.

    Args:
        text: A position's text form, ``0`` for the oldest kept, None or empty for now.

    Returns:
        The start.

    Raises:
        GrammarError: The text is none of these.
    """
    if not text:
        return Edge.NOW
    position = parse_position(text)
    return Edge.OLDEST if position is None else position


def start_text(start: Start) -> str | None:
    """Write a start as :func:`parse_start` reads it; None for now."""
    return start.value if isinstance(start, Edge) else str(start)


def check_channels(channels: Iterable[str], *, max_channels: int) -> tuple[str, ...]:
    """Check the names and patterns that a listener asks for.

    Args:
        channels: Names or patterns; repetitions are dropped.
        max_channels: How many are allowed.

    Returns:
        Them, each once, in order.

    Raises:
        GrammarError: None is given, or one is outside the grammar.
        LimitExceededError: There are too many.
    """
    wanted = tuple(dict.fromkeys(channels))
    if not wanted:
        raise GrammarError("no channel is named: name at least one")
    if len(wanted) > max_channels:
        raise LimitExceededError("max_channels", max_channels, status=400)
    for one in wanted:
        check_readable(one)
        if is_pattern(one):
            channel_pattern(one)
    return wanted


def check_last(last: int | None, channels: Iterable[str], start: Start) -> int | None:
    """Check how many of the newest messages of each channel a listener asks for.

    Args:
        last: The number, or None.
        channels: What it listens to: patterns have no newest messages.
        start: Where it starts: only now goes together with a number.

    Returns:
        The same number.

    Raises:
        GrammarError: The number is out of range or does not go with the rest.
    """
    if last is None:
        return None
    if not 0 <= last <= MAX_LAST:
        raise GrammarError(f"last={last} must be between 0 and {MAX_LAST}")
    if start is not Edge.NOW:
        raise GrammarError("last and position exclude each other: give one of them")
    if pattern := next(filter(is_pattern, channels), None):
        raise GrammarError(f"last does not go with the pattern {pattern!r}: name the channels")
    return last


@overload
def check_client_id(client_id: str) -> str: ...
@overload
def check_client_id(client_id: None) -> None: ...
def check_client_id(client_id: str | None) -> str | None:
    """Check the id a client gave itself and return it.

    Args:
        client_id: The id, or None.

    Returns:
        The same id.

    Raises:
        GrammarError: It is too long, has unprintable characters or is not UTF-8.
    """
    if client_id is None:
        return None
    if not client_id.isprintable():
        raise GrammarError("a client id has printable characters only")
    if len(client_id.encode()) > MAX_CLIENT_ID_BYTES:
        raise GrammarError(f"a client id has at most {MAX_CLIENT_ID_BYTES} bytes")
    return client_id
