"""Group commit: appends that queue while scripts run share the next one.

A turn is numbered, and the script remembers the last number it stored for this publisher, with
its reply. So a turn whose answer was lost is sent again as it was: the server either stores it
now or repeats what it said, and a copy that was delayed on a dead connection comes too late to be
stored twice.

One reply remembered is one turn in flight. So there are two lanes, publishers of their own to the
server, which take turns on one connection: while it stores the turn of one, this process works on
that of the other. Where that connection breaks under both, the later turn waits until the earlier
one is settled, so that what was queued first is still stored first.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from redis.exceptions import RedisError

from trunkline.errors import LineClosedError, LogError, LogUnavailableError, OutcomeUnknownError
from trunkline.log.port import Group, Outcome
from trunkline.log.redis.faults import fault_of, is_doubtful, is_passing
from trunkline.log.redis.layout import EncodedTurn, Layout
from trunkline.log.redis.link import Link
from trunkline.log.redis.location import Tuning
from trunkline.runtime.clock import Clock
from trunkline.runtime.loops import Backoff

logger = logging.getLogger(__name__)

#: Drafts and bytes in one turn, so that neither side is held for long; a call goes in whole.
TURN_DRAFTS: Final = 1000
TURN_BYTES: Final = 8 * 1024 * 1024
TOKEN_BYTES: Final = 9
#: Turns that may be in flight.
LANES: Final = 2
#: Drafts below which sharing what waits between the lanes costs more than it gains.
SHARED_FROM: Final = 16


class Lane:
    """Be a publisher in the server's eyes, with one turn in flight."""

    __slots__ = ("is_retrying", "number", "settled", "token")

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(TOKEN_BYTES)
        self.number = 0
        self.is_retrying = False
        self.settled = asyncio.Event()


class Request:
    """Be one call's groups on their way into a turn."""

    __slots__ = ("count", "done", "groups", "since", "size")

    def __init__(
        self, groups: Sequence[Group], done: asyncio.Future[Sequence[Outcome]], since: float
    ) -> None:
        self.groups = groups
        self.done = done
        self.since = since
        if len(groups) == 1 and len(groups[0]) == 1:
            self.count = 1
            self.size = groups[0][0].size
        else:
            self.count = sum(map(len, groups))
            self.size = sum(draft.size for group in groups for draft in group)


class Appends:
    """Store what queues, one turn after another.

    Args:
        link: The server.
        layout: How turns are stored.
        tuning: Bounds of what may wait.
        clock: Tells how long something waited.
        told: Called on the loop right after a turn was stored.
    """

    def __init__(
        self,
        link: Link,
        layout: Layout,
        *,
        tuning: Tuning,
        clock: Clock,
        told: Callable[[], object],
    ) -> None:
        self._link = link
        self._layout = layout
        self._tuning = tuning
        self._clock = clock
        self._told = told
        self._queue: deque[Request] = deque()
        self._waiting = 0
        self._news = asyncio.Event()
        self._trouble: LogError | None = None
        self._closing = False
        self._in_flight: deque[Lane] = deque()
        self.lanes = [Lane() for _ in range(LANES)]

    @property
    def in_flight(self) -> int:
        """Return how many turns are on their way."""
        return len(self._in_flight)

    def put(self, groups: Sequence[Group]) -> asyncio.Future[Sequence[Outcome]]:
        """Queue a call's groups; the future gets its outcomes.

        Raises:
            LogUnavailableError: The server takes nothing, and the queue is full.
            LineClosedError: The log is closed.
        """
        if self._closing:
            raise LineClosedError("this log is closed: open it first")
        done: asyncio.Future[Sequence[Outcome]] = asyncio.get_running_loop().create_future()
        request = Request(groups, done, self._clock.monotonic())
        if self._trouble is not None and self._waiting + request.count > self._tuning.queue_limit:
            raise LogUnavailableError(
                f"{self._waiting} messages wait already (queue_limit={self._tuning.queue_limit}), "
                f"nothing was stored: {self._trouble}"
            )
        self._queue.append(request)
        self._waiting += request.count
        self._news.set()
        return done

    async def run(self) -> None:
        """Store turns until closed and empty."""
        async with asyncio.TaskGroup() as group:
            for lane in self.lanes:
                group.create_task(self._run(lane))

    async def _run(self, lane: Lane) -> None:
        while True:
            while self._queue:
                self._in_flight.append(lane)
                await self._store(lane, self._take())
                self._in_flight.remove(lane)
                lane.settled.set()
                # Those who were answered queue again before the next turn is taken.
                await asyncio.sleep(0)
            if not self._in_flight:
                await self._link.rest()
            if self._queue:
                continue
            if self._closing:
                return
            self._news.clear()
            await self._news.wait()

    def close(self) -> None:
        """Take nothing more; :meth:`run` ends when what was taken is answered."""
        self._closing = True
        self._news.set()

    def abandon(self) -> None:
        """Answer whatever is left when nobody runs turns any more."""
        while self._queue:
            self._fail([self._queue.popleft()], LineClosedError("this log was closed"))

    def _take(self) -> list[Request]:
        taken: list[Request] = []
        count = size = 0
        # What the other lane has in flight counts, so that both come to the same load.
        share = max(SHARED_FROM, -(-self._waiting // LANES))
        most = min(TURN_DRAFTS, share)
        while self._queue:
            first = self._queue[0]
            count += first.count
            size += first.size
            if taken and (count > most or size > TURN_BYTES):
                break
            taken.append(self._queue.popleft())
        return taken

    async def _store(self, lane: Lane, taken: list[Request]) -> None:
        lane.number += 1
        lane.is_retrying = False
        lane.settled.clear()
        try:
            turn = self._layout.encode([one.groups for one in taken], lane.token, lane.number)
            await self._send(lane, taken, turn)
        except asyncio.CancelledError:
            self._fail(taken, LineClosedError("this log was closed while it stored this"))
            raise
        except LogError as error:
            self._fail(taken, error)
        except Exception as error:
            # Whatever it is, it concerns this turn alone: later ones must still be stored.
            logger.exception("a turn failed in a way nobody foresaw")
            self._fail(taken, error)
        finally:
            self._waiting -= sum(one.count for one in taken)

    async def _send(self, lane: Lane, taken: list[Request], turn: EncodedTurn) -> None:
        """Send a turn until it is settled or its time is over."""
        deadline = taken[0].since + self._tuning.queue_timeout
        backoff = Backoff(first=0.02, limit=0.5)
        doubtful = False
        while True:
            is_sent = False
            await self._wait_for_older(lane)
            try:
                if self._trouble is not None:
                    await self._link.reach()
                is_sent = True
                reply = await self._link.store(turn.script, *turn.ask, body=turn.body)
            except (RedisError, OSError) as error:
                doubtful = doubtful or (is_sent and is_doubtful(error))
                fault = fault_of(error, self._link.place)
                if not is_passing(error) or self._clock.monotonic() >= deadline:
                    raise _given_up(fault, is_doubtful=doubtful) from error
                self._trouble = fault
                lane.is_retrying = True
            else:
                self._trouble = None
                self._answer(taken, turn.outcomes(reply))
                return
            await self._link.drop()
            await asyncio.sleep(backoff.next_delay())

    async def _wait_for_older(self, lane: Lane) -> None:
        while (older := self._in_flight[0]) is not lane and (older.is_retrying or lane.is_retrying):
            await older.settled.wait()

    def _answer(self, taken: list[Request], outcomes: list[list[Outcome]]) -> None:
        for request, mine in zip(taken, outcomes, strict=True):
            if not request.done.done():
                request.done.set_result(mine)
        self._told()

    def _fail(self, taken: list[Request], error: BaseException) -> None:
        for request in taken:
            if not request.done.done():
                # Each caller gets its own, for raising adds to an exception's traceback.
                request.done.set_exception(copy.copy(error))


def _given_up(fault: LogError, *, is_doubtful: bool) -> LogError:
    if not is_doubtful:
        return fault
    return OutcomeUnknownError(
        f"{fault}. Whether the messages were stored could not be learnt; publishing them again "
        "under the same key is safe"
    )
