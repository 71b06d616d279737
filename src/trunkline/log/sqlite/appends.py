"""Group commit: all appends that queued while the last commit ran share the next one."""

from __future__ import annotations

import asyncio
import copy
import sqlite3
from collections import deque
from collections.abc import Sequence

from trunkline.errors import LineClosedError, UsageError
from trunkline.log.port import Group, Outcome
from trunkline.log.sqlite.placement import Placement
from trunkline.sql.writer import Writer

#: Drafts in one turn, so that the loop is not held for long; a single call goes in whole.
TURN_DRAFTS = 1000
#: Drafts that may wait for a turn; further callers wait until there is room.
QUEUED_DRAFTS = 20_000
#: Drafts and bytes that are committed in no time.
SMALL_DRAFTS = 4
SMALL_BYTES = 16 * 1024


class Request:
    """Be one call's groups on their way into a turn."""

    __slots__ = ("count", "done", "groups", "outcomes")

    def __init__(self, groups: Sequence[Group], done: asyncio.Future[Sequence[Outcome]]) -> None:
        self.groups = groups
        self.done = done
        self.count = sum(map(len, groups))
        self.outcomes: list[Outcome] = []

    @property
    def size(self) -> int:
        """Return its bytes."""
        return sum(draft.size for group in self.groups for draft in group)


class Appends:
    """Be the unit of work that stores whatever queued.

    Args:
        writer: Runs the turns.
        placement: Decides what goes in, and writes it.
    """

    is_long = False

    def __init__(self, writer: Writer, placement: Placement) -> None:
        self._writer = writer
        self._placement = placement
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Request] = deque()
        self._waiting = 0
        self._room = asyncio.Event()
        self._is_closed = False
        self._taken: list[Request] = []
        self._is_submitted = False

    async def put(self, groups: Sequence[Group]) -> Sequence[Outcome]:
        """Queue a call's groups, when there is room, and return their outcomes.

        Raises:
            LineClosedError: The log was closed before there was room.
            UsageError: The running task is inside a transaction on the same file.
        """
        if self._writer.is_held_by_caller:
            raise UsageError(
                "this task is inside a transaction on the line's own file, and would wait for "
                "itself: publish with the transaction's tx.publish(), or after it"
            )
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
        placement = self._placement
        for request in self._taken:
            request.outcomes = placement.admit(request.groups)
        return placement.store(connection)

    def _take(self) -> None:
        count = 0
        while self._queue and (not self._taken or count + self._queue[0].count <= TURN_DRAFTS):
            request = self._queue.popleft()
            count += request.count
            self._taken.append(request)
        self._waiting -= count
        self._room.set()

    @property
    def is_small(self) -> bool:
        """Tell whether the turn is that of a lone publisher."""
        if len(self._taken) != 1 or self._placement.erases:
            return False
        request = self._taken[0]
        return request.count <= SMALL_DRAFTS and request.size <= SMALL_BYTES

    def finish(self, connection: sqlite3.Connection) -> None:
        """Delete, in bulk, some of what trimming hid."""
        self._placement.finish(connection)

    def settle(self, error: BaseException | None) -> None:
        """Answer everybody, and let those who queued meanwhile have the next turn."""
        if not self._taken:
            self._take()  # the turn never began: those who wait for it learn why
        taken, self._taken = self._taken, []
        self._is_submitted = False
        self._placement.settle(error)
        if error is not None:
            for request in taken:
                if not request.done.done():
                    # Each caller gets its own, for raising adds to an exception's traceback.
                    request.done.set_exception(copy.copy(error))
        else:
            for request in taken:
                if not request.done.done():
                    request.done.set_result(request.outcomes)
        self._submit()
