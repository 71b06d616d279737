"""A connection that serves subscriptions, for ever: connect, carry, lose, wait, connect again."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from trunkline.client.endpoint import Endpoint
from trunkline.client.failures import Interruption, Misdirection
from trunkline.client.feed import Feed
from trunkline.client.pacing import Pace
from trunkline.client.settings import Settings
from trunkline.errors import ProtocolError, TrunklineError

logger = logging.getLogger(__name__)

CursorT = TypeVar("CursorT")


class Link(ABC, Generic[CursorT]):
    """Carry messages to feeds over one connection at a time.

    Args:
        endpoint: The server.
        settings: The client's.
    """

    def __init__(self, endpoint: Endpoint, settings: Settings) -> None:
        self.feeds: list[Feed[CursorT]] = []
        self._endpoint = endpoint
        self._settings = settings
        self._pace = Pace(settings)
        self._changed = asyncio.Event()
        self._was_established = False

    def accepts(self, feed: Feed[CursorT]) -> bool:
        """Tell whether a feed can share the connection: no channel may belong to two feeds."""
        return not any(one.overlaps(feed.names) for one in self.feeds)

    def add(self, feed: Feed[CursorT]) -> None:
        """Serve a feed from now on."""
        self.feeds.append(feed)
        self._changed.set()

    def remove(self, feed: Feed[CursorT]) -> None:
        """Serve a feed no more. Idempotent."""
        if feed in self.feeds:
            self.feeds.remove(feed)
            self._changed.set()

    async def run(self) -> None:
        """Serve the feeds until none is left or something cannot be cured."""
        while self.feeds:
            try:
                await self._attempt()
            except asyncio.CancelledError:
                raise
            except TrunklineError as error:
                self._fail(error)
            except Exception as error:
                logger.exception("the client's connection failed unexpectedly")
                self._fail(error)

    async def _attempt(self) -> None:
        self._pace.connect()
        try:
            pause = await self._converse()
        except Misdirection as error:
            if not self._was_established:
                raise error.error() from error
            pause = self._delay(error)
        except Interruption as error:
            pause = self._delay(error)
        except ProtocolError as error:
            pause = self._delay(Interruption(str(error)))
        if pause > 0:
            await self._rest(pause)

    def _delay(self, interruption: Interruption) -> float:
        pause = self._pace.delay(interruption)
        logger.warning(
            "connection to %s lost (%s); again in %.1f s",
            self._endpoint.origin,
            interruption,
            pause,
        )
        return pause

    async def _rest(self, pause: float) -> None:
        """Wait before the next connection."""
        await self._settings.sleep(pause)

    @abstractmethod
    async def _converse(self) -> float:
        """Serve the feeds over one connection.

        Returns:
            Seconds to rest before the next one, where that is the protocol's way.
        """

    def _establish(self) -> None:
        self._was_established = True
        self._pace.establish()

    def _fail(self, error: Exception) -> None:
        for feed in tuple(self.feeds):
            self._drop(feed, error)

    def _drop(self, feed: Feed[CursorT], error: Exception) -> None:
        feed.fail(error)
        self.remove(feed)

    async def _make_room(self, feed: Feed[CursorT]) -> bool:
        """Wait until a feed has room; return False when it shall not be fed now.

        A feed that is alone holds the reading up, so that the server feels the pressure. One
        that shares the connection may do so for the grace period; after it the feed is parked:
        it is taken off the connection until its reader has caught up.
        """
        while not feed.has_room and not feed.is_ended and not feed.is_parked:
            try:
                async with asyncio.timeout(self._settings.stall_grace):
                    await feed.room()
            except TimeoutError:
                if len(self.feeds) > 1:
                    feed.is_parked = True
                    self._changed.set()
        return not (feed.is_ended or feed.is_parked)

    async def _unpark(self) -> None:
        """Put parked feeds back on the connection when their readers have caught up; for ever."""
        while True:
            self._changed.clear()
            for feed in self.feeds:
                feed.is_parked = feed.is_parked and not feed.is_low
            await self._adjust()
            parked = [feed for feed in self.feeds if feed.is_parked]
            waits = [asyncio.ensure_future(feed.low()) for feed in parked]
            waits.append(asyncio.ensure_future(_wait(self._changed)))
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in waits:
                    one.cancel()
                await asyncio.wait(waits)

    async def _adjust(self) -> None:
        """Bring the connection in line with the feeds, which have changed."""


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run *work* while the body runs, and end it with the body."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("work beside a connection failed", exc_info=error)
