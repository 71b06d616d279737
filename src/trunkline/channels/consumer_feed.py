"""Pages for a consumer: from memory while it keeps up, from the log when it is behind."""

from __future__ import annotations

import asyncio
from bisect import bisect_right

from trunkline.channels.catchup import Arrival, Step, arrive, next_step
from trunkline.channels.hub import Hub
from trunkline.channels.ring import Track
from trunkline.errors import TrunklineError
from trunkline.log.port import Log, Page
from trunkline.model.interest import Interest
from trunkline.model.position import Position
from trunkline.store.consumer_table import Standing


class Feed:
    """Give the next messages after a position, and read the next page meanwhile.

    Args:
        log: The open log.
        hub: This process's hub.
        interest: Which channels.
        limit: Messages of a page at most.
        moved: Set whenever there may be something new.
    """

    def __init__(
        self, log: Log, hub: Hub, interest: Interest, *, limit: int, moved: asyncio.Event
    ) -> None:
        self._log = log
        self._hub = hub
        self._interest = interest
        self._limit = limit
        self._moved = moved
        self._track: Track | None = None
        self._is_at_end = False
        self._last: Arrival | None = None
        self._ahead: tuple[Position, asyncio.Task[Page | TrunklineError]] | None = None

    async def open(self) -> None:
        """Register with the hub.

        Raises:
            LineClosedError: The line is closed.
            LogError: The log cannot be read.
        """
        if self._track is None:
            self._track = await self._hub.join(self._interest, self._wake)

    def close(self) -> None:
        """Take the registration back. Idempotent."""
        track, self._track = self._track, None
        if track is not None:
            self._hub.leave(track, self._wake)
        self.forget()

    def forget(self) -> None:
        """Forget what was read: somebody decided to go on elsewhere."""
        self._last = None
        self._is_at_end = False
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead[1].cancel()

    def _wake(self) -> None:
        self._is_at_end = False
        self._moved.set()

    async def take(self, standing: Standing) -> Arrival | None:
        """Return what comes next, or None when there is nothing new.

        Args:
            standing: Where the consumer stands.

        Raises:
            LogError: The log cannot be read.
        """
        track = self._track
        if track is None:
            return None
        position = standing.position
        if (rest := self._rest(position)) is not None:
            return rest
        step = next_step(position, track.window, is_at_end=self._is_at_end)
        if step is Step.WAIT:
            return None
        if step is Step.LIVE:
            return self._keep(_live(track, position, self._limit))
        page = await self._page(position)
        arrival = arrive(position, page, told=standing.told)
        self._is_at_end = arrival.is_at_end and arrival.gap is None
        return arrival if arrival.gap is not None else self._keep(arrival)

    def _keep(self, arrival: Arrival) -> Arrival:
        self._last = arrival
        return arrival

    def _rest(self, position: Position) -> Arrival | None:
        """Return the rest of a page of which only a part could be handled."""
        last = self._last
        if last is None or last.position.epoch != position.epoch or not last.records:
            return None
        if not last.records[0].global_id <= position.global_id < last.records[-1].global_id:
            return None
        ids = [record.global_id for record in last.records]
        rest = last.records[bisect_right(ids, position.global_id) :]
        return self._keep(Arrival(None, rest, last.position, last.is_at_end))

    def passed(self, position: Position) -> Position:
        """Return how far a position may move because nothing that is wanted follows it.

        Args:
            position: Where the consumer stands.
        """
        track = self._track
        if track is None or next_step(position, track.window) is not Step.LIVE:
            return position
        return position if track.after(position.global_id, 1) else Position(track.epoch, track.head)

    def read_ahead(self, group: asyncio.TaskGroup, arrival: Arrival) -> None:
        """Begin to read the page after one that is about to be handled, if it isn't in memory.

        Args:
            group: Owns the reading.
            arrival: The page.
        """
        track = self._track
        if track is None or arrival.is_at_end or self._ahead is not None:
            return
        if next_step(arrival.position, track.window) is Step.READ:
            reading = group.create_task(self._read(arrival.position))
            self._ahead = (arrival.position, reading)

    async def _page(self, position: Position) -> Page:
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == position:
            page = await ahead[1]
        else:
            if ahead is not None:
                ahead[1].cancel()
            page = await self._read(position)
        if isinstance(page, TrunklineError):
            raise page
        return page

    async def _read(self, position: Position) -> Page | TrunklineError:
        try:
            return await self._log.read_all(
                position.global_id, self._limit, interest=self._interest
            )
        except TrunklineError as error:
            return error  # told to whoever asks for the page


def _live(track: Track, position: Position, limit: int) -> Arrival:
    end = Position(track.epoch, track.head)
    entries = track.after(position.global_id, limit)
    if len(entries) == limit:
        end = Position(track.epoch, entries[-1].global_id)
    return Arrival(None, [entry.record for entry in entries], end)
