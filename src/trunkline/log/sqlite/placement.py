"""Placing drafts in the file: what one turn of the writer decides, stores and remembers."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence

from trunkline.log.admission import ChannelEntry, Touch, Turn
from trunkline.log.joint import Stretch, Tip
from trunkline.log.port import Group, Outcome
from trunkline.log.retention import Retention
from trunkline.log.sqlite import statements as sql
from trunkline.log.sqlite.books import LineBooks
from trunkline.model.channel import ChannelKey, Kind
from trunkline.model.message import Record
from trunkline.runtime.clock import Clock

#: Hidden messages of a channel that are worth deleting while somebody appends to it.
ERASE_FROM = 500
#: Messages deleted by one turn at most.
ERASE_BATCH = 5000


class Placement:
    """Admit groups one after another, store them together, and keep the books true.

    One at a time is used at a time, for there is one writer: from the first :meth:`admit` of a
    transaction to its :meth:`settle`.

    Args:
        books: What the writer remembers.
        retention: Which limits hold.
        clock: Tells the time.
        told: Called on the loop right after a commit, with head and epoch.
    """

    def __init__(
        self,
        books: LineBooks,
        *,
        retention: Retention,
        clock: Clock,
        told: Callable[[int, str], object],
    ) -> None:
        self._books = books
        self._retention = retention
        self._clock = clock
        self._told = told
        self._turn: Turn | None = None
        self._erasures: list[tuple[int, int, int]] = []

    def admit(self, groups: Sequence[Group]) -> list[Outcome]:
        """Decide on groups; nothing is written yet."""
        turn = self._turn or self._begin()
        return [turn.admit(group) for group in groups]

    @property
    def epoch(self) -> str:
        """Return the line's epoch as this turn sees it."""
        if self._turn is None:
            self._begin()
        return self._books.epoch

    def tip(self, connection: sqlite3.Connection, wanted: Stretch) -> Tip:
        """Return the end of a stream as it is stored, read only where it is longer than known."""
        if self._turn is None:
            self._begin()
        entry = self._books.entry(wanted.channel, Kind.STREAM)
        if entry.last_id <= wanted.after:
            return Tip(entry.last_id, epoch=self._books.epoch)
        rows = connection.execute(sql.CHANNEL_ROWS, (entry.ident, wanted.after, -1))
        return Tip(
            entry.last_id,
            [
                Record(wanted.channel, row[2], row[0], row[3], row[4], row[5], row[6])
                for row in rows
            ],
            self._books.epoch,
        )

    def pick(self, connection: sqlite3.Connection, global_ids: Sequence[int]) -> list[Record]:
        """Return kept messages by their global ids, in order."""
        rows = connection.execute(sql.PICKED_ROWS, (json.dumps(list(global_ids)),))
        return [
            Record(ChannelKey(row[7], row[8] or None), row[2], row[0], *row[3:7]) for row in rows
        ]

    def _begin(self) -> Turn:
        books = self._books
        books.refresh()
        turn = self._turn = Turn(
            books,
            self._retention,
            epoch=books.epoch,
            head=books.head,
            at=max(self._clock.now(), books.published_at),
        )
        return turn

    def store(self, connection: sqlite3.Connection) -> bool:
        """Write what was admitted, and tell whether there was anything."""
        turn = self._turn
        if turn is None or not turn.rows:
            return False
        connection.executemany(sql.ADD_MESSAGE, turn.rows)
        keys = turn.new_keys
        if keys:
            connection.executemany(
                sql.ADD_RECEIPT, [(one.ident, one.key, *one.known, turn.at) for one in keys]
            )
        now = self._clock.now()
        grown = [touch for touch in turn.touches.values() if touch.grows]
        budget = ERASE_BATCH
        for touch in grown:
            self._settle_channel(connection, touch, turn.at, now)
            entry = touch.entry
            hidden = entry.floor - entry.erased
            if hidden >= ERASE_FROM and budget > 0:
                upto = entry.erased + min(hidden, budget)
                budget -= upto - entry.erased
                self._erasures.append((entry.ident, entry.erased, upto))
                entry.erased = upto
        new = [_new_row(touch.entry) for touch in grown if touch.entry.is_new]
        if new:
            connection.executemany(sql.ADD_CHANNEL, new)
        old = [_saved_row(touch.entry) for touch in grown if not touch.entry.is_new]
        if old:
            connection.executemany(sql.SAVE_CHANNEL, old)
        connection.execute(sql.ADVANCE_LINE, (turn.head, turn.at))
        return True

    def _settle_channel(
        self, connection: sqlite3.Connection, touch: Touch, at: float, now: float
    ) -> None:
        entry = touch.entry
        if entry.floor == entry.last_id:
            entry.oldest_at = at
        entry.last_id = touch.last_id
        entry.published_at = at
        floor = touch.floor
        if touch.age is not None and entry.oldest_at < now - touch.age:
            floor = max(floor, age_floor(connection, entry, now - touch.age))
        raise_floor(connection, entry, floor)

    @property
    def erases(self) -> bool:
        """Tell whether there is something to delete before the commit."""
        return bool(self._erasures)

    def finish(self, connection: sqlite3.Connection) -> None:
        """Delete, in bulk, some of what trimming hid."""
        for erasure in self._erasures:
            connection.execute(sql.ERASE_MESSAGES, erasure)

    def settle(self, error: BaseException | None) -> None:
        """Make the books say what was committed, or forget what was not, and wake readers."""
        turn, self._turn = self._turn, None
        self._erasures.clear()
        if error is not None:
            self._books.distrust()
        elif turn is not None:
            self._note(turn)

    def _note(self, turn: Turn) -> None:
        for touch in turn.touches.values():
            if touch.entry.is_new and touch.last_id == 0:
                self._books.drop(touch.entry)
            touch.entry.is_new = False
        if turn.rows:
            self._books.head, self._books.published_at = turn.head, turn.at
            self._told(turn.head, self._books.epoch)


def age_floor(connection: sqlite3.Connection, entry: ChannelEntry, cutoff: float) -> int:
    """Find the newest message of a channel that is older than *cutoff*, and note the next one.

    Args:
        connection: The writing connection.
        entry: The channel, whose ``oldest_at`` is brought up to date.
        cutoff: Unix seconds.

    Returns:
        Its message id; the floor when there is none.
    """
    found = connection.execute(sql.FIRST_SINCE, (entry.ident, entry.floor, cutoff)).fetchone()
    if found is None:
        return entry.last_id
    entry.oldest_at = found[1]
    return int(found[0]) - 1


def raise_floor(connection: sqlite3.Connection, entry: ChannelEntry, floor: int) -> int:
    """Raise a channel's floor in its entry, and return by how many messages."""
    gone = floor - entry.floor
    if gone <= 0:
        return 0
    entry.floor = floor
    entry.floor_global = connection.execute(sql.GLOBAL_ID, (entry.ident, floor)).fetchone()[0]
    return gone


def save_entry(connection: sqlite3.Connection, entry: ChannelEntry) -> None:
    """Write an existing channel's entry back to its row."""
    connection.execute(sql.SAVE_CHANNEL, _saved_row(entry))


def _saved_row(entry: ChannelEntry) -> tuple[int, int, int, int, float, float, int]:
    return (
        entry.last_id,
        entry.floor,
        entry.floor_global,
        entry.erased,
        entry.published_at,
        entry.oldest_at,
        entry.ident,
    )


def _new_row(entry: ChannelEntry) -> tuple[object, ...]:
    key = entry.key
    return (*_saved_row(entry), key.site_id or "", key.name, entry.kind.value)
