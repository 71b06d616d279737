"""Subscriptions by message_bus's protocol: one poll for all of them, by name, with message ids."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from trunkline.channels.catchup import Gap
from trunkline.client.endpoint import Endpoint
from trunkline.client.exchange import Answer, Exchange, Hold
from trunkline.client.feed import Feed
from trunkline.client.link import Link, beside
from trunkline.client.poll_cursor import PollCursor, poll_message
from trunkline.client.settings import Settings

HOLDS = {"poll": Hold.NOT, "long-poll": Hold.ONCE, "stream": Hold.STREAM}
HELD_AT_LEAST = 0.5


class Idleness:
    """Say how long to rest after polls that the server neither held nor had anything for.

    Over its limits a server answers at once instead of holding; polling on without a pause would
    make that worse.

    Args:
        first: Seconds after the first such poll.
        limit: Seconds at most.
    """

    def __init__(self, first: float, limit: float) -> None:
        self._first = first
        self._limit = limit
        self._count = 0

    def rest(self, *, elapsed: float, was_useful: bool) -> float:
        """Return the seconds to rest after a poll.

        Args:
            elapsed: Seconds the poll took.
            was_useful: Whether it brought a message or was streamed.
        """
        if was_useful or elapsed >= HELD_AT_LEAST:
            self._count = 0
            return 0.0
        pause = min(self._limit, self._first * 2.0 ** min(self._count, 32))
        self._count += 1
        return pause


class PollLink(Link[PollCursor]):
    """Serve feeds by polling.

    Args:
        endpoint: The server.
        settings: The client's.
        client_id: What no other connection may poll as; kept as an attribute.
    """

    def __init__(self, endpoint: Endpoint, settings: Settings, *, client_id: str) -> None:
        super().__init__(endpoint, settings)
        self.client_id = client_id
        self._exchange = Exchange(endpoint, client_id, wants_gaps=True)
        self._hold = HOLDS[settings.transport]
        self._idleness = Idleness(0.1, 15.0)
        self._reading: asyncio.Task[float] | None = None
        self._served: list[Feed[PollCursor]] = []

    async def _converse(self) -> float:
        async with beside(self._unpark()):
            # The poll is a task so that a new subscription can end it and be part of the next.
            self._served = self._wanted()
            self._reading = asyncio.ensure_future(self._poll())
            try:
                await asyncio.wait([self._reading])
            finally:
                self._reading.cancel()
                await asyncio.wait([self._reading])
        return 0.0 if self._reading.cancelled() else self._reading.result()

    async def _adjust(self) -> None:
        if self._reading is not None and self._served != self._wanted():
            self._reading.cancel()

    async def _rest(self, pause: float) -> None:
        """Wait, but not longer than until the feeds change."""
        served = self._served
        waiting = asyncio.ensure_future(self._settings.sleep(pause))
        changed = asyncio.ensure_future(self._until_other_than(served))
        try:
            await asyncio.wait([waiting, changed], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            changed.cancel()
            await asyncio.wait([waiting, changed])

    async def _until_other_than(self, served: list[Feed[PollCursor]]) -> None:
        while set(self._wanted()) <= set(served):
            self._changed.clear()
            await self._changed.wait()

    def _wanted(self) -> list[Feed[PollCursor]]:
        return [feed for feed in self.feeds if not feed.is_parked]

    async def _poll(self) -> float:
        positions: dict[str, int] = {}
        for feed in self._served:
            positions |= feed.cursor.ids
        if not positions:
            await asyncio.Event().wait()  # until the feeds change, which cancels this
        started = self._settings.clock.monotonic()
        was_useful = False
        async with aclosing(self._exchange.poll(positions, self._hold)) as answers:
            async for answer in answers:
                self._establish()
                was_useful = was_useful or answer.is_streamed or bool(answer.messages)
                for feed in self._served:
                    if not await self._take(feed, answer):
                        return 0.0  # positions tell what was not taken; the next poll asks for it
                    feed.open()
        self._pace.progress()
        if self._hold is Hold.NOT:
            return self._settings.poll_interval
        elapsed = self._settings.clock.monotonic() - started
        return self._idleness.rest(elapsed=elapsed, was_useful=was_useful)

    async def _take(self, feed: Feed[PollCursor], answer: Answer) -> bool:
        """Give a feed its share of an answer; return False when it could not take all of it."""
        cursor = feed.cursor
        feed.push(cursor.begin_answer(answer.messages), 0)
        share = answer.size // max(1, len(answer.messages))
        gaps: list[Gap] = []
        for message in answer.messages:
            if cursor.knows(message.channel):
                if not await self._make_room(feed):
                    return False
                if cursor.accept(message):
                    feed.push([poll_message(message)], share)
                    self._pace.progress()
            gaps += cursor.take_status(message)
        feed.push(gaps, 0)
        return True
