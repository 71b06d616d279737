"""Hearing of news: notifications from the server, and a poll as the net beneath them.

A notification is a hint. When the connection that listens is cut, it is made again, and asks at
once what it missed; meanwhile, and behind a pooler always, the line is asked from time to time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from trunkline.errors import LogError
from trunkline.log.postgres import statements as sql
from trunkline.runtime.clock import jitter
from trunkline.runtime.loops import Backoff
from trunkline.sql.postgres.database import Connection, Database
from trunkline.sql.postgres.faults import FAILURES

logger = logging.getLogger(__name__)

#: Seconds between two questions to a line that also notifies.
NET = 2.0
#: Seconds between two questions where nothing notifies: after news, and at most.
FASTEST = 0.003
SLOWEST = 0.05
SLOWING = 1.2

Tell = Callable[[str, int, float | None], bool]


class Herald:
    """Learn of commits, this process's own included.

    Args:
        database: Makes the connection.
        topic: Where appends are made known.
        tell: Called with epoch, head and, when known, the time of the head's message; says
            whether that was news.
    """

    def __init__(self, database: Database, topic: str, tell: Tell) -> None:
        self._database = database
        self._topic = topic
        self._tell = tell
        self._is_wanted = asyncio.Event()
        self._backoff = Backoff(0.05, 2.0)

    def start(self) -> None:
        """Begin to listen. Idempotent."""
        self._is_wanted.set()

    def stop(self) -> None:
        """Listen no more. Idempotent."""
        self._is_wanted.clear()

    async def run(self) -> None:
        """Listen while that is wanted, until cancelled."""
        while True:
            await self._is_wanted.wait()
            try:
                await self._attend()
            except (LogError, *FAILURES) as error:
                delay = self._backoff.next_delay()
                logger.warning("not listening for news for %.2f s: %s", delay, error)
                await asyncio.sleep(delay)

    async def _attend(self) -> None:
        """Listen on one connection until it breaks or nobody wants to know."""
        connection = await self._database.connect()
        is_sound = False
        try:
            if self._database.address.is_pooled:
                await self._poll(connection)
            else:
                await self._listen(connection)
            is_sound = True
        finally:
            if is_sound:
                await self._database.give_back(connection)
            else:
                self._database.discard(connection)

    async def _listen(self, connection: Connection) -> None:
        cut = asyncio.Event()

        def hear(_: object, __: int, ___: str, payload: str) -> None:
            epoch, _____, head = payload.partition(" ")
            if head.isdigit():
                self._tell(epoch, int(head), None)

        def lose(_: object) -> None:
            cut.set()

        connection.add_termination_listener(lose)
        await connection.add_listener(self._topic, hear)
        try:
            while self._is_wanted.is_set():
                await self._ask(connection)
                self._backoff.succeed()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(jitter(NET)):
                        await cut.wait()
        finally:
            connection.remove_termination_listener(lose)
            if not connection.is_closed():
                await connection.remove_listener(self._topic, hear)

    async def _poll(self, connection: Connection) -> None:
        pause = FASTEST
        while self._is_wanted.is_set():
            has_news = await self._ask(connection)
            self._backoff.succeed()
            pause = FASTEST if has_news else min(SLOWEST, pause * SLOWING)
            await asyncio.sleep(pause)

    async def _ask(self, connection: Connection) -> bool:
        address = self._database.address
        async with asyncio.timeout(address.reply_timeout):
            head, epoch, published_at = await connection.fetchrow(address.sql(sql.READ_NEWS))
        return self._tell(epoch, head, published_at)
