"""The one decision that carries a reader from the log to live messages and back, as pure functions.

A reader is a position and an interest. A track (see :mod:`trunkline.channels.ring`) is what this
process holds in memory for one interest: every message after ``since`` up to ``head``. Whoever
stands inside that stretch is fed from memory; whoever stands before it reads pages of the log;
whoever stands at its end waits. Losing messages between "read the backlog" and "register for
live ones" is impossible by construction: the position decides, not the moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

import msgspec

from trunkline.log.port import Page
from trunkline.model.message import Record
from trunkline.model.position import Position


class Step(Enum):
    """Name what a reader does next."""

    LIVE = "live"
    READ = "read"
    WAIT = "wait"
    GAP = "gap"


class Window(NamedTuple):
    """Describe what memory holds for an interest: all of (*since*, *head*] under *epoch*."""

    epoch: str
    since: int
    head: int


class Gap(msgspec.Struct, frozen=True):
    """Tell a reader that messages are gone.

    Args:
        reason: ``trimmed``, or ``reset`` when the line was erased or restored.
        after: The global id the reader stood at.
        position: Where reading goes on. What is still kept follows, in order; a reader that
            resumes from here before it has passed the floor is told again.
        floor: The newest message that is gone; others before it may still be there.
    """

    reason: str
    after: int
    position: Position
    floor: int = 0


class Arrival(msgspec.Struct, frozen=True):
    """Say what a page of the log means to a reader.

    Args:
        gap: What was lost before the records, or None.
        records: The messages, all after the reader's position.
        position: Where the reader stands when it has taken them.
        is_at_end: Whether the log had nothing more.
    """

    gap: Gap | None
    records: Sequence[Record]
    position: Position
    is_at_end: bool = False


def next_step(position: Position, window: Window, *, is_at_end: bool = False) -> Step:
    """Decide what a reader at *position* does next.

    Args:
        position: Where it stands.
        window: What memory holds for its interest.
        is_at_end: Whether it has read the log to its end since it was last woken.

    Returns:
        LIVE: take what memory holds after the position. READ: take a page of the log.
        WAIT: there is nothing new. GAP: the line's epoch changed; a page of the log tells how.
    """
    if position.epoch != window.epoch:
        # A reader that came from the log's end is ahead: the hub has yet to learn of the reset.
        return Step.WAIT if is_at_end else Step.GAP
    if position.global_id >= window.head:
        return Step.WAIT
    if position.global_id >= window.since:
        return Step.LIVE
    return Step.READ


def check_start(position: Position, epoch: str, head: int) -> Gap | None:
    """Check a position that came from outside against the line as it stands.

    Args:
        position: Where a listener says it stands.
        epoch: The line's epoch.
        head: The line's last global id.

    Returns:
        A gap when the position names a message this line never had, else None.
    """
    if position.epoch == epoch and position.global_id <= head:
        return None
    return _reset(position, epoch)


def arrive(position: Position | None, page: Page, *, told: int = 0) -> Arrival:
    """Decide what a page of :meth:`Log.read_all` means to a reader at *position*.

    Args:
        position: Where the reader asked from; None for "from the oldest kept", never a gap.
        page: What the log answered.
        told: The floor of the last gap the reader was told of in this epoch.

    Returns:
        The gap, if there is one, the records to deliver, and the new position. After a reset
        nothing is delivered from this page: the reader starts over in the new epoch.
    """
    end = Position(page.epoch, page.upto)
    is_at_end = page.upto >= page.head
    if position is None:
        return Arrival(None, page.records, end, is_at_end)
    if position.epoch != page.epoch or position.global_id > page.head:
        gap = _reset(position, page.epoch)
        return Arrival(gap, (), gap.position)
    lost = position.global_id < page.floor and told < page.floor
    gap_here = Gap("trimmed", position.global_id, position, page.floor) if lost else None
    return Arrival(gap_here, page.records, end, is_at_end)


def _reset(position: Position, epoch: str) -> Gap:
    return Gap("reset", position.global_id, Position(epoch, 0), position.global_id)
