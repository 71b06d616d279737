"""Group commit: all appends that queued while the last commit ran share the next one."""

from __future__ import annotations

import asyncio
import copy
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence

from trunkline.errors import LineClosedError
from trunkline.log.admission import ChannelEntry, Touch, Turn
from trunkline.log.port import Group, Outcome
from trunkline.log.retention import Retention
from trunkline.log.sqlite import statements as sql
from trunkline.log.sqlite.books import LineBooks
from trunkline.runtime.clock import Clock
from trunkline.sql.writer import Writer

#: Drafts in one turn, so that the loop is not held for long; a single call goes in whole.
TURN_DRAFTS = 1000
#: Drafts that may wait for a turn; further callers wait until there is room.
QUEUED_DRAFTS = 20_000
#: Hidden messages of a channel that are worth deleting while somebody appends to it.
ERASE_FROM = 500
#: Messages deleted by one turn at most.
ERASE_BATCH = 5000


class Request:
    """Be one call's groups on their way into a turn."""

    __slots__ = ("count", "done", "groups", "outcomes")

    def __init__(self, groups: Sequence[Group], done: asyncio.Future[Sequence[Outcome]]) -> None:
        self.groups = groups
        self.done = done
        self.count = sum(map(len, groups))
        self.outcomes: list[Outcome] = []


class Appends:
    """Be the unit of work that stores whatever queued.

    Args:
        writer: Runs the turns.
        books: What the writer remembers.
        retention: Which limits hold.
        clock: Tells the time.
        told: Called on the loop right after a commit, with head and epoch.
    """

    is_long = False

    def __init__(
        self,
        writer: Writer,
        books: LineBooks,
        *,
        retention: Retention,
        clock: Clock,
        told: Callable[[int, str], object],
    ) -> None:
        self._writer = writer
        self._books = books
        self._retention = retention
        self._clock = clock
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Request] = deque()
        self._waiting = 0
        self._room = asyncio.Event()
        self._is_closed = False
        self._taken: list[Request] = []
        self._is_submitted = False
        self._turn: Turn | None = None
        self._erasures: list[tuple[int, int, int]] = []

    async def put(self, groups: Sequence[Group]) -> Sequence[Outcome]:
        """Queue a call's groups, when there is room, and return their outcomes.

        Raises:
            LineClosedError: The log was closed before there was room.
        """
        while self._waiting >= QUEUED_DRAFTS and not self._is_closed:
            self._room.clear()
            await self._room.wait()
        if self._is_closed:
            raise LineClosedError("this log was closed: nothing of the call was stored")
        request = Request(groups, self._loop.create_future())
        self._queue.append(request)
        self._waiting += request.count
        self._submit()
        return await request.done

    def close(self) -> None:
        """Refuse what is not queued yet."""
        self._is_closed = True
        self._room.set()

    def _submit(self) -> None:
        if self._queue and not self._is_submitted:
            self._is_submitted = True
            self._writer.submit(self)

    def work(self, connection: sqlite3.Connection) -> bool:
        """Decide and store what queued."""
        self._take()
        books = self._books
        books.refresh()
        turn = self._turn = Turn(
            books,
            self._retention,
            epoch=books.epoch,
            head=books.head,
            at=max(self._clock.now(), books.published_at),
        )
        for request in self._taken:
            request.outcomes = [turn.admit(group) for group in request.groups]
        if turn.rows:
            self._store(connection, turn)
        return bool(turn.rows)

    def _take(self) -> None:
        count = 0
        while self._queue and (not self._taken or count + self._queue[0].count <= TURN_DRAFTS):
            request = self._queue.popleft()
            count += request.count
            self._taken.append(request)
        self._waiting -= count
        self._room.set()

    def _store(self, connection: sqlite3.Connection, turn: Turn) -> None:
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

    def finish(self, connection: sqlite3.Connection) -> None:
        """Delete, in bulk, some of what trimming hid."""
        for erasure in self._erasures:
            connection.execute(sql.ERASE_MESSAGES, erasure)

    def settle(self, error: BaseException | None) -> None:
        """Answer everybody, and let those who queued meanwhile have the next turn."""
        if not self._taken:
            self._take()  # the turn never began: those who wait for it learn why
        taken, self._taken = self._taken, []
        turn, self._turn = self._turn, None
        self._erasures.clear()
        self._is_submitted = False
        if error is not None:
            self._books.distrust()
            for request in taken:
                if not request.done.done():
                    # Each caller gets its own, for raising adds to an exception's traceback.
                    request.done.set_exception(copy.copy(error))
        else:
            self._note(turn)
            for request in taken:
                if not request.done.done():
                    request.done.set_result(request.outcomes)
        self._submit()

    def _note(self, turn: Turn | None) -> None:
        """Make the books say what was committed."""
        if turn is None:
            return
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
