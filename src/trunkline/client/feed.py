"""A bounded buffer between a connection that fills it and a reader that empties it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

from trunkline.channels.catchup import Gap
from trunkline.client.settings import Settings
from trunkline.model.message import Message
from trunkline.model.pattern import channel_pattern, is_pattern
from trunkline.wire.start import Refusal

logger = logging.getLogger(__name__)

Item = Message | Gap
CursorT = TypeVar("CursorT")

_GAP_BYTES = 100


class Feed(Generic[CursorT]):
    """Be the inner side of a subscription: names, a cursor and a bounded buffer.

    A connection asks for room before it lets the cursor take a message, so whatever the cursor
    has passed is in the buffer, and whatever is not in the buffer can be asked for again.

    Args:
        names: Channel names and patterns.
        cursor: Where the subscription stands.
        settings: The client's.
    """

    def __init__(self, names: Iterable[str], cursor: CursorT, settings: Settings) -> None:
        self.names = tuple(names)
        self.cursor = cursor
        self.refused: tuple[Refusal, ...] = ()
        self.is_parked = False
        self._exact = frozenset(name for name in self.names if not is_pattern(name))
        self._patterns = [channel_pattern(name) for name in self.names if is_pattern(name)]
        self._max_messages = settings.buffer_messages
        self._max_bytes = settings.buffer_bytes
        self._items: deque[tuple[Item, int]] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()
        self._opened = asyncio.Event()
        self._error: Exception | None = None
        self.is_closed = False

    def wants(self, channel: str) -> bool:
        """Tell whether a channel is one of its names or matches one of its patterns."""
        return channel in self._exact or any(one.matches(channel) for one in self._patterns)

    def overlaps(self, names: Iterable[str]) -> bool:
        """Tell whether a channel may belong to this feed and to some names or patterns."""
        others = tuple(names)
        return any(_may_meet(one, other) for one in self.names for other in others)

    @property
    def has_room(self) -> bool:
        """Tell whether one more item may come."""
        return len(self._items) < self._max_messages and self._bytes < self._max_bytes

    @property
    def is_low(self) -> bool:
        """Tell whether the reader has emptied at least half of the buffer."""
        return len(self._items) * 2 <= self._max_messages and self._bytes * 2 <= self._max_bytes

    @property
    def is_ended(self) -> bool:
        """Tell whether nothing will be delivered any more."""
        return self.is_closed or self._error is not None

    @property
    def buffered(self) -> list[Item]:
        """Return what the reader has not taken yet."""
        return [item for item, _ in self._items]

    def open(self, refused: Iterable[Refusal] = ()) -> None:
        """Note that the server has acknowledged the subscription."""
        known, self.refused = self.refused, tuple(refused)
        if self.refused and self.refused != known:
            told = "; ".join(f"{one.channel} ({one.detail})" for one in self.refused)
            logger.warning("the server refuses some of the channels: %s", told)
        self._opened.set()

    async def opened(self) -> None:
        """Wait for the server's acknowledgement.

        Raises:
            Exception: What the server refused it with.
        """
        await self._opened.wait()
        if self._error is not None:
            raise self._error

    def push(self, items: Iterable[Item], size: int) -> None:
        """Add items for the reader.

        Args:
            items: Messages and gaps, in order.
            size: Their size on the wire, bytes.
        """
        for item in items:
            share = size if isinstance(item, Message) else _GAP_BYTES
            self._items.append((item, share))
            self._bytes += share
        if self._items:
            self._filled.set()

    async def room(self) -> None:
        """Wait until the reader has made room, or nothing more is wanted."""
        while not self.has_room and not self.is_ended:
            self._drained.clear()
            await self._drained.wait()

    async def low(self) -> None:
        """Wait until the reader has emptied half of the buffer, or nothing more is wanted."""
        while not self.is_low and not self.is_ended:
            self._drained.clear()
            await self._drained.wait()

    async def pop(self) -> Item:
        """Take the next item, waiting for it.

        Raises:
            StopAsyncIteration: The feed is closed.
            Exception: What ended it, after the items before it.
        """
        while not self._items:
            if self.is_closed:
                raise StopAsyncIteration
            if self._error is not None:
                raise self._error
            self._filled.clear()
            await self._filled.wait()
        item, share = self._items.popleft()
        self._bytes -= share
        self._drained.set()
        return item

    def fail(self, error: Exception) -> None:
        """End the feed with an error, which the reader meets after what is buffered."""
        self._error = self._error or error
        self._wake()

    def close(self) -> None:
        """End the feed and forget what is buffered."""
        self.is_closed = True
        self._wake()

    def _wake(self) -> None:
        self._filled.set()
        self._drained.set()
        self._opened.set()


def _may_meet(one: str, other: str) -> bool:
    """Tell whether a channel may match both of two names or patterns."""
    ours, theirs = one.split("/"), other.split("/")
    for mine, yours in zip(ours, theirs, strict=False):
        if "**" in {mine, yours}:
            return True
        if mine != yours and not is_pattern(mine) and not is_pattern(yours):
            return False
    return len(ours) == len(theirs)
