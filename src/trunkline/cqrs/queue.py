"""The queue of commands that wait for a commit."""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from trunkline.cqrs.member import Member
from trunkline.errors import LineClosedError, UsageError
from trunkline.model.channel import ChannelKey

#: Commands that may wait; further senders wait until there is room.
QUEUED: Final = 10_000


class Queue:
    """Hold the commands that wait for a commit."""

    def __init__(self) -> None:
        self._waiting: deque[Member] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._is_closed = False
        #: Tasks that run handlers inside a transaction at the moment.
        self.working: set[asyncio.Task[Any] | None] = set()

    def check(self) -> None:
        """Refuse whoever would wait for a commit that waits for it.

        Raises:
            UsageError: The running task is inside a command's transaction.
        """
        if asyncio.current_task() in self.working:
            raise UsageError(
                "this handler is inside a command's transaction, and would wait for itself: "
                "return commands, or send them with ctx.send(…)"
            )

    async def wait_for_room(self) -> None:
        """Wait until one more may wait."""
        while len(self._waiting) >= QUEUED and not self._is_closed:
            self._room.clear()
            await self._room.wait()

    @property
    def is_full(self) -> bool:
        """Tell whether whoever comes next must wait for room."""
        return len(self._waiting) >= QUEUED

    def add(self, member: Member) -> None:
        """Let a member wait for a commit; :meth:`Member.attend` comes next.

        Raises:
            LineClosedError: The line was closed.
        """
        if self._is_closed:
            raise LineClosedError("this line was closed: nothing of the command was stored")
        self._waiting.append(member)
        self._news.set()

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self) -> None:
        """Wait until there is something to do, or may be."""
        if not self._waiting:
            self._news.clear()
            await self._news.wait()

    async def wait_for_more(self) -> None:
        """Wait until something is added."""
        self._news.clear()
        await self._news.wait()

    def pop(self) -> Member | None:
        """Take the next one, if its sender is still there."""
        while self._waiting:
            member = self._waiting.popleft()
            self._room.set()
            if not member.is_gone:
                return member
        return None

    def take(self, count: int, shunned: set[ChannelKey]) -> list[Member]:
        """Take some that don't touch streams another group has in hand; an alone one alone."""
        found: list[Member] = []
        left: deque[Member] = deque()
        while self._waiting and len(found) < count:
            member = self._waiting.popleft()
            target = member.job.target
            if member.is_gone:
                continue
            if (target is not None and target[0] in shunned) or (member.job.is_alone and found):
                left.append(member)
                continue
            found.append(member)
            if member.job.is_alone:
                break
        self._waiting.extendleft(reversed(left))
        self._room.set()
        return found

    def put_back(self, members: Sequence[Member]) -> None:
        """Let some wait on, before all others."""
        self._waiting.extendleft(reversed(members))
        self._news.set()

    def close(self) -> None:
        """Refuse whoever waits, and whoever comes."""
        self._is_closed = True
        self._room.set()
        while self._waiting:
            self._waiting.popleft().fail(
                LineClosedError("this line was closed: nothing of the command was stored")
            )


def own(error: BaseException) -> BaseException:
    """Return an error for one of several to raise: raising adds to its traceback.

    Args:
        error: What kept all of them from being stored.
    """
    if not isinstance(error, Exception):
        return LineClosedError("this line was closed: nothing of the command was stored")
    try:
        copied = copy.copy(error)
    except Exception:  # noqa: BLE001 - some can't be copied
        return error
    copied.__cause__ = error.__cause__
    return copied
