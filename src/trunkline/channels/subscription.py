"""A listener inside the process: an async iterator that starts anywhere and loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from types import TracebackType
from typing import Self

import msgspec

from trunkline.channels.catchup import Gap, Step, arrive, check_start, next_step
from trunkline.channels.hub import Hub
from trunkline.channels.ring import Track
from trunkline.errors import GapError, LogError
from trunkline.log.port import Heads, Log
from trunkline.model.channel import ChannelKey
from trunkline.model.interest import Interest
from trunkline.model.message import Message, message_of
from trunkline.model.position import Position

SLICE = 256

OnGap = Callable[[Gap], None]
Ready = Callable[[], Awaitable[None]]


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """Say where a subscription begins; with nothing said, at the end of the line.

    Args:
        position: After this position.
        from_oldest: With the oldest message kept.
        after: In each of these channels, after this message id.
        count: With *after*'s channels: so many messages before the end instead.
    """

    position: Position | None = None
    from_oldest: bool = False
    after: Mapping[ChannelKey, int] | None = None
    count: int | None = None


class Subscription:
    """Iterate over the messages of an interest, from a start on, for ever.

    Iterating raises :class:`GapError` once for each gap unless *on_gap* takes it; iterating
    again goes on after the gap. It raises :class:`LogError` when the log cannot be read;
    iterating again goes on where it stood, as it does after a wait that was cancelled.

    Args:
        log: The open log.
        hub: This process's hub.
        interest: Which channels.
        start: Where to begin.
        on_gap: Takes gaps instead of the exception.
        ready: Opens the log if need be.
    """

    def __init__(
        self,
        log: Log,
        hub: Hub,
        interest: Interest,
        *,
        start: Start,
        on_gap: OnGap | None = None,
        ready: Ready | None = None,
    ) -> None:
        self.interest = interest
        self.position: Position | None = start.position
        self._log = log
        self._hub = hub
        self._start = start
        self._on_gap = on_gap
        self._ready = ready
        self._track: Track | None = None
        self._moved = asyncio.Event()
        self._is_closed = False
        self._messages: AsyncIterator[Message] | None = None
        self._unread = None if start.after is None else dict(start.after)
        self._mark: Heads | None = None
        self._lost: Gap | None = None
        self._is_at_end = False
        self._told = 0

    async def open(self) -> Self:
        """Register with the hub, so that nothing published from now on is missed. Idempotent.

        Returns:
            The subscription itself.

        Raises:
            LineClosedError: The line is closed.
            LogError: The log cannot be read.
        """
        if self._track is not None or self._closed():
            return self
        if self._ready is not None:
            await self._ready()
        track = await self._hub.join(self.interest, self._moved.set)
        try:
            await self._find_start()
        except BaseException:  # a reader without a start is none: opening again begins anew
            self._hub.leave(track, self._moved.set)
            raise
        if self._closed():  # meanwhile
            self._hub.leave(track, self._moved.set)
            return self
        self._track = track
        return self

    async def _find_start(self) -> None:
        if self._unread is None and not self._start.from_oldest:
            heads = await self._log.last_ids(())
            if self.position is None:
                self.position = Position(heads.epoch, heads.head)
            else:
                self._lost = check_start(self.position, heads.epoch, heads.head)

    def _closed(self) -> bool:
        return self._is_closed

    def close(self) -> None:
        """End the subscription; an iteration under way stops. Idempotent."""
        self._is_closed = True
        if self._track is not None:
            self._hub.leave(self._track, self._moved.set)
            self._track = None
        self._moved.set()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        if self._messages is None:
            self._messages = self._run()
        try:
            return await anext(self._messages)
        except (GapError, LogError, asyncio.CancelledError):
            # Iterating again goes on: after the gap, or where an error or a time limit ended it.
            self._messages = None
            raise

    async def _run(self) -> AsyncIterator[Message]:
        await self.open()
        if (lost := self._lost) is not None:
            self._lost, self.position = None, lost.position
            self._tell(lost)
        if self._unread is not None:
            async for message in self._read_named(self._unread):
                yield message
            self._unread = None
        while (track := self._track) is not None and not self._hub.is_closed:
            step = self._next_step(track)
            if step is Step.WAIT:
                self._moved.clear()
                await self._moved.wait()
                self._is_at_end = False
            elif step is Step.LIVE:
                for message in self._take_live(track):
                    yield message
            else:
                async for message in self._read_page():
                    yield message
        self.close()

    def _next_step(self, track: Track) -> Step:
        if self.position is None:
            return Step.READ
        return next_step(self.position, track.window, is_at_end=self._is_at_end)

    def _take_live(self, track: Track) -> Iterator[Message]:
        after = 0 if self.position is None else self.position.global_id
        end = Position(track.epoch, track.head)
        entries = track.after(after, SLICE)
        for entry in entries:
            self.position = Position(entry.epoch, entry.global_id)
            yield entry.message
        if len(entries) < SLICE:
            self.position = end

    async def _read_page(self) -> AsyncIterator[Message]:
        after = 0 if self.position is None else self.position.global_id
        page = await self._log.read_all(after, interest=self.interest)
        if self.position is None:
            self._told = page.floor
        arrival = arrive(self.position, page, told=self._told)
        if arrival.gap is not None:
            self._told = page.floor if arrival.gap.reason == "trimmed" else 0
            self.position = arrival.gap.position
            self._tell(arrival.gap)
        for record in arrival.records:
            self.position = Position(page.epoch, record.global_id)
            yield message_of(record, page.epoch)
        self.position = arrival.position
        self._is_at_end = arrival.is_at_end

    async def _read_named(self, unread: dict[ChannelKey, int]) -> AsyncIterator[Message]:
        """Yield the named channels' backlogs up to one moment, and go on from that moment.

        What was taken is struck from *unread*, so that reading again after a gap goes on there.
        """
        if self._mark is None:
            self._mark = await self._log.last_ids(unread)
            if self._start.count is not None:
                for key, last in self._mark.ids.items():
                    unread[key] = max(0, last - self._start.count)
        mark = self._mark
        for key in tuple(unread):
            if unread[key] > mark.ids[key]:
                after = unread.pop(key)
                self._tell(Gap("reset", after, Position(mark.epoch, mark.head), after))
                continue
            async for message in self._read_channel(key, unread, mark.head):
                yield message
            del unread[key]
        self.position = Position(mark.epoch, mark.head)

    async def _read_channel(
        self, key: ChannelKey, unread: dict[ChannelKey, int], upto: int
    ) -> AsyncIterator[Message]:
        is_look_behind = self._start.count is not None
        while True:
            after = unread[key]
            page = await self._log.read(key, after)
            unread[key] = max(after, page.floor)
            if after < page.floor and not is_look_behind:
                self._tell(Gap("trimmed", after, Position(page.epoch, page.floor), page.floor))
            is_look_behind = False
            for record in page.records:
                if record.global_id > upto:
                    return
                unread[key] = record.message_id
                yield message_of(record, page.epoch)
            unread[key] = max(page.upto, page.floor)
            if unread[key] >= page.head:
                return

    def _tell(self, gap: Gap) -> None:
        if self._on_gap is None:
            raise GapError(gap.reason, after=gap.after, floor=gap.floor)
        self._on_gap(gap)

    def __del__(self) -> None:
        if self._track is not None:
            self._hub.leave(self._track, self._moved.set)

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "open"
        return f"<Subscription at {self.position} {state}>"
