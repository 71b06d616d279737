"""Fetching: whose turn it is, how many at once, in batches, with a time limit, and again after."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from trunkline.entities.declaration import Declaration, Wanted
from trunkline.entities.group import Group, Stage
from trunkline.entities.value import Failure, State, state_of
from trunkline.errors import (
    AccessDeniedError,
    MessageTooLargeError,
    TrunklineError,
    UnencodableDataError,
)
from trunkline.model.position import Position
from trunkline.runtime.clock import Clock
from trunkline.runtime.crew import Work
from trunkline.wire.watch import Version

logger = logging.getLogger("trunkline.entities")

#: Seconds after which a group is looked at again in whose name nobody may fetch just now.
PAUSE: Final = 0.2


class Fetching:
    """Fetch the states of one kind of entity.

    A batch that fails is not blamed on all that were in it: each is asked for again, alone.
    Those that fail alone wait longer each time, and never have more than half of the places.

    Args:
        declaration: How, and how many at once.
        position: Tells how far along the line this process has heard.
        run: Runs background work.
        clock: Tells the time.
    """

    def __init__(
        self,
        declaration: Declaration,
        *,
        position: Callable[[], Position],
        run: Callable[[str, Work], None],
        clock: Clock,
    ) -> None:
        self._declaration = declaration
        self._position = position
        self._run = run
        self._clock = clock
        self._queue: dict[Group, None] = {}
        self._suspects: dict[Group, None] = {}
        self._busy = 0
        self._busy_alone = 0
        self._is_scheduled = False

    # -- whose turn it is ---------------------------------------------------------------------

    def want(self, group: Group) -> None:
        """Have a group fetched if a fetch is due, as soon as its turn comes."""
        if not group.is_due or group.stage is not Stage.IDLE:
            return
        wait = group.began + self._declaration.interval - self._clock.monotonic()
        self._place(group, wait)

    def forget(self, group: Group) -> None:
        """Fetch a group no more."""
        self._queue.pop(group, None)
        self._suspects.pop(group, None)
        if group.timer is not None:
            group.timer.cancel()
            group.timer = None
        if group.stage is not Stage.FETCHING:
            group.stage = Stage.IDLE

    def _place(self, group: Group, wait: float) -> None:
        if wait > 0:
            group.stage = Stage.WAITING
            loop = asyncio.get_running_loop()
            group.timer = loop.call_later(wait, self._enqueue, group)
        else:
            self._enqueue(group)

    def _enqueue(self, group: Group) -> None:
        group.timer = None
        group.stage = Stage.QUEUED
        (self._suspects if group.is_suspect else self._queue)[group] = None
        if not self._is_scheduled:
            # What is queued in the same turn of the loop travels in the same batch.
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._start)

    def _start(self) -> None:
        self._is_scheduled = False
        most = self._declaration.concurrency
        while self._busy < most and (batch := self._next_batch(most)):
            self._busy += 1
            self._run(f"fetch of {self._declaration.name}", partial(self._work, batch))

    def _next_batch(self, most: int) -> list[Group]:
        if self._suspects and self._busy_alone < max(1, most // 2):
            self._busy_alone += 1
            return [_first(self._suspects)]
        size = self._declaration.batch_size if self._declaration.batch else 1
        return [_first(self._queue) for _ in range(min(size, len(self._queue)))]

    # -- one fetch ----------------------------------------------------------------------------

    async def _work(self, batch: Sequence[Group]) -> None:
        was_alone = batch[0].is_suspect
        try:
            await self._fetch(batch)
        finally:
            self._busy -= 1
            self._busy_alone -= was_alone
            for group in batch:
                if group.stage is Stage.FETCHING:
                    group.stage = Stage.IDLE
                self.want(group)
            if not self._is_scheduled:
                self._start()

    async def _fetch(self, batch: Sequence[Group]) -> None:
        position, now = self._position(), self._clock.monotonic()
        asked: list[tuple[Group, Wanted]] = []
        for group in batch:
            if not group.members:
                group.stage = Stage.IDLE
            elif (viewer := group.viewer) is None:
                self._place(group, PAUSE)
            else:
                group.begin(position, now)
                asked.append((group, Wanted(group.key, viewer)))
        if not asked:
            return
        try:
            async with asyncio.timeout(self._declaration.timeout):
                given = await self._ask([wanted for _, wanted in asked])
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            self._fail([group for group, _ in asked], error)
            return
        for (group, _), one in zip(asked, given, strict=True):
            self._settle(group, position, one)

    async def _ask(self, wanted: Sequence[Wanted]) -> list[Any]:
        """Ask for states, of those only that may be seen."""
        access = self._declaration.access
        denied = AccessDeniedError("this viewer may not see this entity")
        seen = [access is None or await access(*one) is True for one in wanted]
        allowed = [one for one, may_see in zip(wanted, seen, strict=True) if may_see]
        try:
            given = iter(await self._declaration.ask(allowed) if allowed else ())
        except AccessDeniedError as error:
            if len(allowed) > 1:
                raise
            given = itertools.repeat(error)
        return [next(given) if may_see else denied for may_see in seen]

    def _settle(self, group: Group, position: Position, given: Any) -> None:
        version = Version(position, group.scope.mark)
        try:
            state: State = state_of(group.key, version, given)
        except TrunklineError as error:
            self._fail([group], error)
            return
        group.deliver(state)

    def _fail(self, groups: Sequence[Group], error: BaseException) -> None:
        if len(groups) > 1:
            logger.warning(
                "a batch of %d %r failed and is asked for one by one: %s",
                len(groups), self._declaration.name, type(error).__name__,
            )  # fmt: skip
            for group in groups:
                group.fail(None)
            return
        (group,) = groups
        logger.error("the fetch of %r failed", group.key, exc_info=error)
        wait = group.fail(_failure(group, error))
        group.stage = Stage.IDLE
        if group.members:
            self._place(group, wait)


def _first(groups: dict[Group, None]) -> Group:
    group = next(iter(groups))
    del groups[group]
    return group


def _failure(group: Group, error: BaseException) -> Failure:
    key = group.key
    if isinstance(error, TimeoutError):
        return Failure(
            key, "fetch-timeout", "the state did not come in time; it is asked for again"
        )
    if isinstance(error, UnencodableDataError):
        return Failure(key, "fetch-unencodable", "the state is no strict JSON; it is tried again")
    if isinstance(error, MessageTooLargeError):
        return Failure(key, "fetch-too-large", "the state is too large; it is tried again")
    return Failure(key, "fetch-failed", "the state cannot be had now; it is asked for again")
