"""Group commit: all appends that queued while the last commit ran share the next one."""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Callable, Sequence

from trunkline.errors import LineClosedError, LogError
from trunkline.log.port import Group, Outcome
from trunkline.log.postgres.tail import Tail
from trunkline.log.postgres.turns import Answer, Turn
from trunkline.log.retention import Retention

#: Drafts and bytes in one turn; a single group goes in whole.
TURN_DRAFTS = 1000
TURN_BYTES = 8 * 1024 * 1024
#: Drafts and bytes that may wait for a turn; further callers wait until there is room.
QUEUED_DRAFTS = 20_000
QUEUED_BYTES = 64 * 1024 * 1024


class Request:
    """Be one call's groups on their way into turns, which may be several."""

    __slots__ = ("done", "outcomes", "rest")

    def __init__(self, count: int, done: asyncio.Future[Sequence[Outcome]]) -> None:
        self.outcomes: list[Outcome] = [()] * count
        self.rest = count
        self.done = done

    def settle(self, index: int, outcome: Outcome) -> None:
        """Note a group's outcome; the last one answers the caller."""
        self.outcomes[index] = outcome
        self.rest -= 1
        if self.rest or self.done.done():
            return
        failure = self.outcomes[0]
        if isinstance(failure, LogError) and all(
            isinstance(one, LogError) for one in self.outcomes
        ):
            self.done.set_exception(failure)
        else:
            self.done.set_result(self.outcomes)


class Parcel:
    """Be one group in the queue."""

    __slots__ = ("count", "group", "index", "request", "since", "size")

    def __init__(self, request: Request, index: int, group: Group, since: float) -> None:
        self.request = request
        self.index = index
        self.group = group
        self.since = since
        self.count = len(group)
        self.size = sum(draft.size for draft in group)


class Appends:
    """Queue groups, and store what queued, turn by turn.

    Args:
        tail: Sends turns to the server.
        retention: Which limits hold.
        patience: Seconds a group waits for a server that is away.
        told: Called right after a commit with its answer and the number of messages stored.
    """

    def __init__(
        self,
        tail: Tail,
        retention: Retention,
        *,
        patience: float,
        told: Callable[[Answer, int], object],
    ) -> None:
        self._tail = tail
        self._retention = retention
        self._patience = patience
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Parcel] = deque()
        self._drafts = 0
        self._bytes = 0
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_closed = False

    async def put(self, groups: Sequence[Group]) -> Sequence[Outcome]:
        """Queue a call's groups, when there is room, and return their outcomes.

        Raises:
            LogError: Nothing of the call was stored.
            LineClosedError: The log was closed before there was room.
        """
        while self._is_full() and not self._is_closed:
            self._room.clear()
            await self._room.wait()
        if self._is_closed:
            raise LineClosedError("this log was closed: nothing of the call was stored")
        if not groups:
            return ()
        now = self._loop.time()
        request = Request(len(groups), self._loop.create_future())
        for index, group in enumerate(groups):
            parcel = Parcel(request, index, group, now)
            self._queue.append(parcel)
            self._drafts += parcel.count
            self._bytes += parcel.size
        self._idle.clear()
        self._work.set()
        return await request.done

    def _is_full(self) -> bool:
        return self._drafts >= QUEUED_DRAFTS or self._bytes >= QUEUED_BYTES

    def close(self) -> None:
        """Refuse what is not queued yet."""
        self._is_closed = True
        self._room.set()

    async def drain(self) -> None:
        """Wait until everything that queued is answered."""
        await self._idle.wait()

    async def run(self) -> None:
        """Store whatever queues, until cancelled; what is left then is refused."""
        try:
            while True:
                await self._work.wait()
                self._work.clear()
                while self._queue:
                    await self._store(self._take())
                    # Whoever was just answered gets the chance to join the next turn.
                    await asyncio.sleep(0)
                self._idle.set()
        finally:
            self._is_closed = True
            self._room.set()
            self._refuse(self._queue, LineClosedError("this log was closed: nothing was stored"))
            self._idle.set()

    def _take(self) -> list[Parcel]:
        taken: list[Parcel] = []
        count = size = 0
        while self._queue:
            parcel = self._queue[0]
            if taken and (count + parcel.count > TURN_DRAFTS or size + parcel.size > TURN_BYTES):
                break
            taken.append(self._queue.popleft())
            count += parcel.count
            size += parcel.size
        self._drafts -= count
        self._bytes -= size
        self._room.set()
        return taken

    async def _store(self, parcels: list[Parcel]) -> None:
        """Store a turn; if the server refuses it for what is in it, each group by itself."""
        try:
            turn = Turn([parcel.group for parcel in parcels], self._retention)
            call = turn.call()
            answer = None
            if call is not None:
                answer = await self._tail.store(call, parcels[0].since + self._patience)
            outcomes = turn.outcomes(answer)
        except asyncio.CancelledError:
            self._refuse(parcels, LineClosedError("this log was closed while it was storing"))
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the callers hear of it
            if len(parcels) > 1 and type(error) is LogError:
                for parcel in parcels:
                    await self._store([parcel])
            else:
                self._refuse(parcels, error)
            return
        if answer is not None:
            self._told(answer, turn.stored(answer))
        for parcel, outcome in zip(parcels, outcomes, strict=True):
            parcel.request.settle(parcel.index, outcome)

    def _refuse(self, parcels: Sequence[Parcel] | deque[Parcel], error: Exception) -> None:
        for parcel in parcels:
            # Each caller gets its own, for raising adds to an exception's traceback.
            own = copy.copy(error)
            if isinstance(own, LogError):
                parcel.request.settle(parcel.index, own)
            elif not parcel.request.done.done():
                parcel.request.done.set_exception(own)
