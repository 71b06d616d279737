"""What a caller iterates over: messages in order, gaps told, for as long as the client lives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Any, Self

from trunkline.channels.catchup import Gap
from trunkline.channels.subscription import OnGap
from trunkline.client.cursor import Cursor
from trunkline.client.feed import Feed
from trunkline.client.poll_cursor import PollCursor
from trunkline.errors import GapError
from trunkline.model.message import Message
from trunkline.model.position import Position
from trunkline.wire.start import Refusal

AnyFeed = Feed[Cursor] | Feed[PollCursor]


class Subscription:
    """Iterate over the messages of some channels, over any number of connections.

    Each gap raises :class:`GapError` once, unless *on_gap* takes it; iterating again goes on
    after it. A refusal that waiting cannot cure is raised after what came before it.

    Made by :meth:`Client.subscribe`; leaving it to the garbage collector closes it.

    Args:
        feed: The inner side.
        on_gap: Takes gaps instead of the exception.
        leave: Takes the feed off its connection.
    """

    def __init__(
        self, feed: AnyFeed, *, on_gap: OnGap | None, leave: Callable[[AnyFeed], None]
    ) -> None:
        self._feed = feed
        self._on_gap = on_gap
        self._leave = leave
        self._consumed: Position | None = None

    @property
    def position(self) -> Position | Mapping[str, int] | None:
        """Return where the reader stands; give it to a later subscription to go on from there.

        A position of the line; on the polling transports the message id per channel. None while
        it is not known yet.
        """
        cursor, buffered = self._feed.cursor, self._feed.buffered
        if isinstance(cursor, PollCursor):
            return cursor.before(buffered)
        if not buffered:
            return cursor.position
        first = buffered[0]
        if self._consumed is None and isinstance(first, Message):
            return Position(first.position.epoch, first.global_id - 1)
        return self._consumed

    @property
    def refused(self) -> tuple[Refusal, ...]:
        """Return the channels that the server refused, and why, while it serves the others."""
        return self._feed.refused

    async def open(self) -> Self:
        """Wait until the server has acknowledged, so that nothing from now on is missed.

        Returns:
            The subscription itself.

        Raises:
            AccessDeniedError: The server refused it.
            UsageError: The server does not accept it as it is.
        """
        await self._feed.opened()
        return self

    def close(self) -> None:
        """End the subscription; an iteration under way stops. Idempotent."""
        self._feed.close()
        self._leave(self._feed)

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        while True:
            item = await self._feed.pop()
            self._consumed = item.position
            if not isinstance(item, Gap):
                return item
            if self._on_gap is None:
                raise GapError(item.reason, after=item.after, floor=item.floor)
            self._on_gap(item)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        feed: Any = getattr(self, "_feed", None)
        if feed is not None and not feed.is_closed:
            self.close()

    def __repr__(self) -> str:
        names = ", ".join(self._feed.names)
        return f"<Subscription to {names} at {self.position}>"
