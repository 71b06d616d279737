"""A turn of the writer in somebody's hands: a transaction that lasts over several awaits."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress

from trunkline.errors import LogUnavailableError, UsageError

GiveBack = Callable[[bool], None]
Finisher = Callable[[sqlite3.Connection], object]


class Hold:
    """Be the unit of work of somebody who needs the writing connection for a while.

    Nobody else can write meanwhile, so it is taken back after *limit* seconds, undone.

    Args:
        limit: Seconds it may last once it began.
        place: Names the database in messages.
    """

    is_long = False
    is_small = False

    def __init__(self, *, limit: float, place: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit = limit
        self._place = place
        self._begun: asyncio.Future[sqlite3.Connection] = self._loop.create_future()
        self._settled: asyncio.Future[None] = self._loop.create_future()
        self._give_back: GiveBack | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._end: BaseException | None = None
        self._commits = False
        self._closers: list[Finisher] = []
        self._finishers: list[Finisher] = []
        self._listeners: list[Callable[[BaseException | None], None]] = []
        self.owner = asyncio.current_task()

    # -- the holder's side --------------------------------------------------------------------

    async def begin(self) -> None:
        """Wait for the turn."""
        await self._begun

    @property
    def connection(self) -> sqlite3.Connection:
        """Return the writing connection, while it is held and its transaction is open.

        Raises:
            LogError: It was taken back.
            UsageError: The transaction is over.
        """
        if self._end is not None:
            raise self._end
        if self._give_back is None:
            raise UsageError("this transaction is over: begin another")
        return self._begun.result()

    def check(self) -> None:
        """Notice that SQLite itself ended the transaction, as it does after grave errors."""
        if self._give_back is not None and not self._begun.result().in_transaction:
            self._stop(
                LogUnavailableError(
                    f"SQLite undid the transaction on {self._place} after an error: run it again"
                )
            )

    def at_commit(self, closer: Finisher) -> None:
        """Have *closer* called, on the loop, as the last thing before the turn is given back."""
        self._closers.append(closer)

    def at_finish(self, finisher: Finisher) -> None:
        """Have *finisher* called in the writer's thread right before the commit."""
        self._finishers.append(finisher)

    def at_settle(self, listener: Callable[[BaseException | None], None]) -> None:
        """Have *listener* told, on the loop, how it ended; an error means nothing was stored."""
        self._listeners.append(listener)

    async def commit(self) -> None:
        """Give the turn back and wait until what was written is durable.

        A cancelled waiter doesn't stop the commit.
        """
        for closer in self._closers:
            closer(self.connection)
        _ = self.connection  # raises when there is nothing left to commit
        self._return(True)
        await asyncio.shield(self._settled)

    async def roll_back(self) -> None:
        """Give the turn back with nothing written. Idempotent."""
        if not self._begun.done():
            self._begun.cancel()
        if self._give_back is not None:
            self._return(False)
            with suppress(Exception):
                await asyncio.shield(self._settled)

    # -- the writer's side --------------------------------------------------------------------

    def hand_over(self, connection: sqlite3.Connection, give_back: GiveBack) -> None:
        """Take the turn; *give_back* ends it, with a commit or without."""
        if self._begun.done():
            give_back(False)  # whoever wanted it has gone
            return
        self._give_back = give_back
        self._timer = self._loop.call_later(self._limit, self._expire)
        self._begun.set_result(connection)

    def work(self, connection: sqlite3.Connection) -> bool:
        """Do nothing: the holder works."""
        del connection
        return False

    def finish(self, connection: sqlite3.Connection) -> None:
        """Do what was to be done right before the commit."""
        for finisher in self._finishers:
            finisher(connection)

    def settle(self, error: BaseException | None) -> None:
        """Learn how it ended, and tell."""
        if self._settled.done():
            return
        for listener in self._listeners:
            listener(error or (None if self._commits else self._end))
        if not self._begun.done():
            self._begun.set_exception(error or LogUnavailableError("the writer has stopped"))
            self._settled.cancel()
        elif error is None:
            self._settled.set_result(None)
        else:
            self._settled.set_exception(error)
            self._settled.exception()  # told to the one who commits, if somebody does

    def _expire(self) -> None:
        self._stop(
            LogUnavailableError(
                f"this transaction kept all other writers of {self._place} waiting for more than "
                f"{self._limit:g} s, so it was undone: do slow work, and publishes without tx=, "
                "outside of it"
            )
        )

    def _stop(self, why: LogUnavailableError) -> None:
        self._end = why
        if self._give_back is not None:
            self._return(False)

    def _return(self, commits: bool) -> None:  # noqa: FBT001 - the only thing it says
        give_back, self._give_back = self._give_back, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if give_back is not None:
            self._end = self._end or UsageError("this transaction is over: begin another")
            self._commits = commits
            give_back(commits)
