"""What an application's own tests need: a line in memory, time they set, and what was published.

::

    async with open_testing_line() as line:
        await checkout(line, cart)
        published = await line.published()
        published.on("/orders").once(data={"id": 7}, user_ids=["ann"])
        published.on("/mails/**").never()
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Self

from trunkline.app import Trunkline
from trunkline.model.message import Message
from trunkline.model.pattern import channel_pattern
from trunkline.sync import Trunkline as SyncTrunkline
from trunkline.testing.clock import ManualClock

MEMORY = "memory://"
_ANY: Any = object()


class Published(list[Message]):
    """Be messages that were published, in order, with assertions that read well.

    A failed one raises :class:`AssertionError` and shows what was published instead.
    """

    def on(self, channel: str) -> Published:
        """Return those on a channel or pattern."""
        pattern = channel_pattern(channel)
        return Published(one for one in self if pattern.matches(one.channel))

    def once(self, data: Any = _ANY, **fields: Any) -> Message:
        """Assert that there is exactly one, and return it.

        Args:
            data: Its value, if that matters.
            **fields: Fields of :class:`trunkline.Message`, such as ``user_ids`` or ``headers``.
        """
        __tracebackhide__ = True
        (message,) = self.times(1)
        message_is(message, data, **fields)
        return message

    def never(self) -> None:
        """Assert that there is none."""
        __tracebackhide__ = True
        self.times(0)

    def times(self, count: int) -> Self:
        """Assert how many there are."""
        __tracebackhide__ = True
        if len(self) != count:
            raise AssertionError(f"expected {count} published, found {len(self)}:{self._shown()}")
        return self

    def with_data(self, *data: Any) -> Self:
        """Assert the values, all of them and in this order."""
        __tracebackhide__ = True
        found = [one.data for one in self]
        if found != list(data):
            raise AssertionError(f"expected {list(data)!r} published, found:{self._shown()}")
        return self

    def _shown(self) -> str:
        lines = [
            f"\n  {one.channel} {one.message_id}: {one.data!r}{_audience(one)}" for one in self
        ]
        return "".join(lines) or " nothing"


def message_is(message: Message, data: Any = _ANY, **fields: Any) -> None:
    """Assert what a message is.

    Args:
        message: The message.
        data: Its value, if that matters.
        **fields: Fields of :class:`trunkline.Message`; lists and tuples compare as sequences.
    """
    __tracebackhide__ = True
    wanted = fields if data is _ANY else {"data": data, **fields}
    for name, value in wanted.items():
        found = getattr(message, name)
        if _plain(found) != _plain(value):
            where = f"{message.channel} {message.message_id}"
            raise AssertionError(f"expected {name}={value!r} of {where}, found {found!r}")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _audience(message: Message) -> str:
    return f" for {message.audience!r}" if message.audience else ""


class TestingLine(Trunkline):
    """Be a line whose time stands still and whose messages can be looked at.

    Args:
        log: URL of the log.
        clock: Tells the time; stands still unless given.
        **settings: As for :class:`trunkline.Trunkline`.

    Attributes:
        clock: Move it with ``clock.advance(seconds)``.
    """

    __test__ = False

    def __init__(
        self, log: str = MEMORY, *, clock: ManualClock | None = None, **settings: Any
    ) -> None:
        self.clock = clock or ManualClock()
        super().__init__(log, clock=self.clock, **settings)

    async def published(self, channel: str | None = None) -> Published:
        """Return what was published on all sites, in order.

        Args:
            channel: Only on this channel or pattern.
        """
        found = Published(await self.global_backlog())
        return found if channel is None else found.on(channel)


class SyncTestingLine(SyncTrunkline):
    """Be a testing line for code that can't await; see :class:`TestingLine`."""

    factory = TestingLine

    @property
    def clock(self) -> ManualClock:
        """Return the clock: move it with ``clock.advance(seconds)``."""
        line = self.asynchronous
        assert isinstance(line, TestingLine)
        return line.clock

    def published(self, channel: str | None = None) -> Published:
        """Return what was published; see :meth:`TestingLine.published`."""
        line = self.asynchronous
        assert isinstance(line, TestingLine)
        found: Published = self.call(line.published, channel)
        return found


@asynccontextmanager
async def open_testing_line(
    *, database: bool = False, **settings: Any
) -> AsyncIterator[TestingLine]:
    """Open a line for one test.

    Args:
        database: Whether the test needs transactions, consumers or commands: the line is then
            in a SQLite file of its own, which goes with the test.
        **settings: As for :class:`trunkline.Trunkline`.
    """
    with _place(database=database) as log:
        async with TestingLine(log, **settings) as line:
            yield line


@contextmanager
def open_sync_testing_line(*, database: bool = False, **settings: Any) -> Iterator[SyncTestingLine]:
    """Open a line for one test of code that can't await.

    Args:
        database: As for :func:`open_testing_line`.
        **settings: As for :class:`trunkline.Trunkline`.
    """
    with _place(database=database) as log, SyncTestingLine(log, **settings) as line:
        yield line


@contextmanager
def _place(*, database: bool) -> Iterator[str]:
    if not database:
        yield MEMORY
        return
    with tempfile.TemporaryDirectory(prefix="trunkline-test-") as folder:
        yield f"sqlite:///{Path(folder) / 'line.db'}"
