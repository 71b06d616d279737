"""A few connections shared in the order asked: whoever waits longest gets the next one free.

The driver's own pool, and any queue that wakes a waiter rather than handing over, lets whoever
gave a connection back take it again at once, and others wait for as long as that one is busy.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

from trunkline.errors import LineClosedError, LogError, LogUnavailableError
from trunkline.runtime.loops import Backoff
from trunkline.sql.postgres.database import Connection, Database
from trunkline.sql.postgres.faults import FAILURES, fault_of, is_cut

T = TypeVar("T")


class Pool:
    """Run short pieces of work, each on a connection of its own for the time.

    Args:
        database: Makes the connections.
        size: Connections at most.
    """

    def __init__(self, database: Database, size: int) -> None:
        self._database = database
        self._free: list[Connection] = []
        self._room = size
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._is_closed = False

    async def run(
        self,
        work: Callable[[Connection], Awaitable[T]],
        *,
        is_safe: bool = True,
        keeps: bool = False,
    ) -> T:
        """Run *work*, again on another connection when the first one breaks.

        Args:
            work: Called with a connection outside a transaction.
            is_safe: Whether it may run twice.
            keeps: Whether it keeps the connection when it worked.

        Returns:
            What it returned.

        Raises:
            LogError: The server refused it, or stayed away for as long as patience lasts.
            LineClosedError: The pool is closed.
        """
        address = self._database.address
        loop = asyncio.get_running_loop()
        until = loop.time() + address.patience
        backoff = Backoff(0.02, 1.0)
        while True:
            fault: LogError
            try:
                return await self._run_once(work, until - loop.time(), keeps=keeps)
            except FAILURES as error:
                fault = fault_of(error, address)
                if not (is_cut(error) and is_safe):
                    raise fault from error
            except LogUnavailableError as error:
                fault = error
            delay = backoff.next_delay()
            if loop.time() + delay > until:
                raise fault
            await asyncio.sleep(delay)

    async def lend(self, begin: Callable[[Connection], Awaitable[None]]) -> Connection:
        """Hand out a connection on which *begin* worked; :meth:`take_back` must follow.

        Args:
            begin: Called with a connection outside a transaction; it may run several times.

        Returns:
            The connection.

        Raises:
            LogError: The server refused it, or stayed away for as long as patience lasts.
            LineClosedError: The pool is closed.
        """
        kept: list[Connection] = []

        async def keep(connection: Connection) -> None:
            await begin(connection)
            kept.append(connection)

        await self.run(keep, keeps=True)
        return kept[0]

    async def take_back(self, connection: Connection, *, is_sound: bool) -> None:
        """Take back what was lent; a connection that is in doubt is not used again."""
        await self._give(connection, is_sound=is_sound)

    async def _run_once(
        self, work: Callable[[Connection], Awaitable[T]], within: float, *, keeps: bool
    ) -> T:
        connection = await self._take(within)
        try:
            async with asyncio.timeout(self._database.address.reply_timeout):
                answer = await work(connection)
        except BaseException as error:
            is_sound = isinstance(error, asyncpg.PostgresError) and not is_cut(error)
            await self._give(connection, is_sound=is_sound)
            raise
        if not keeps:
            await self._give(connection)
        return answer

    async def _take(self, within: float) -> Connection:
        await self._enter()
        try:
            while self._free:
                connection = self._free.pop()
                if not connection.is_closed():
                    return connection
            return await self._database.connect(within=max(0.5, within))
        except BaseException:
            self._leave()
            raise

    async def _enter(self) -> None:
        if self._is_closed:
            raise LineClosedError("this log is closed: open it first")
        if self._room > 0 and not self._waiters:
            self._room -= 1
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._leave()  # the turn came together with the cancelling: it goes on
            raise

    def _leave(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._room += 1

    async def _give(self, connection: Connection, *, is_sound: bool = True) -> None:
        """Take a connection back; one that is in doubt is not used again."""
        try:
            is_sound = is_sound and not self._is_closed and not connection.is_closed()
            if not is_sound or connection.is_in_transaction():
                self._database.discard(connection)
            elif self._database.address.pool is not None:
                await self._database.give_back(connection)
            else:
                self._free.append(connection)
        finally:
            self._leave()

    async def close(self) -> None:
        """Refuse new work and close what is free; work under way ends on its own."""
        self._is_closed = True
        error = LineClosedError("this log was closed")
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(error)
        free, self._free = self._free, []
        for connection in free:
            await self._database.give_back(connection)
