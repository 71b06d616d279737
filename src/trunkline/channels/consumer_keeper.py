"""Trimming what consumers hold back, as far as they have come.

Engines trim a held channel by the consumers' cap alone (:meth:`Retention.hold`), and need not know
any position. The process that runs such a consumer trims up to what every one of them has seen.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence

from trunkline.errors import TrunklineError
from trunkline.log.port import ChannelState, Log
from trunkline.log.retention import Retention
from trunkline.model.channel import Kind
from trunkline.model.interest import Interest
from trunkline.model.message import Record
from trunkline.model.position import Position
from trunkline.runtime.clock import Clock, jitter
from trunkline.store.consumer_table import ConsumerTable

logger = logging.getLogger("trunkline.channels")

#: Of the time that passes, the part that looking for something to trim may take.
SHARE = 0.1

Holder = tuple[str, Interest, Position]


class Keeper:
    """Trim the channels of one consumer, when it and others that hold them back have moved on.

    Args:
        log: The open log.
        retention: Says what would be trimmed if nobody held it back.
        table: Says who holds back, and where they stand.
        interest: The channels.
        clock: Tells the time.
        every: Seconds between two looks.
    """

    def __init__(
        self,
        log: Log,
        retention: Retention,
        table: ConsumerTable,
        *,
        interest: Interest,
        clock: Clock,
        every: float,
    ) -> None:
        self._log = log
        self._retention = retention
        self._table = table
        self._interest = interest
        self._clock = clock
        self._every = every

    async def run(self) -> None:
        """Look again and again until cancelled; a failure is told."""
        pause = self._every
        while True:
            await asyncio.sleep(jitter(pause, spread=0.1))
            started = self._clock.monotonic()
            try:
                await self.trim()
            except TrunklineError as error:
                logger.warning("what consumers are done with cannot be trimmed: %s", error)
            pause = max(self._every, (self._clock.monotonic() - started) / SHARE)

    async def trim(self) -> int:
        """Trim what is due and consumed, and return how many messages are gone."""
        holders = await self._holders()
        if not self._retention.holds <= {name for name, _, _ in holders}:
            return 0  # somebody who is waited for has yet to begin
        epoch = (await self._log.last_ids(())).epoch
        gone = 0
        async for state in self._channels():
            upto = await self._wanted(state)
            if upto > state.floor:
                ends = [end for _, interest, end in holders if interest.includes(state.key)]
                upto = await self._consumed(state, upto, ends, epoch)
            if upto > state.floor:
                gone += await self._log.trim(state.key, upto)
        return gone

    async def _holders(self) -> list[Holder]:
        found = []
        for one in await self._table.definitions():
            standing = await self._table.standing(one.name) if one.keep else None
            if standing is not None:
                found.append((one.name, one.interest, standing.position))
        return found

    async def _channels(self) -> AsyncIterator[ChannelState]:
        page: Sequence[ChannelState] = await self._log.channels()
        while page:
            for state in page:
                is_ours = state.kind is Kind.PLAIN and self._interest.includes(state.key)
                if is_ours and state.backlog:
                    yield state
            page = await self._log.channels(page[-1].key)

    async def _wanted(self, state: ChannelState) -> int:
        """Return the newest message id that the limits alone would trim."""
        limits, now = self._retention.limits_unheld(state.key), self._clock.now()
        if limits.max_idle is not None and state.published_at < now - limits.max_idle:
            return state.last_id
        upto = state.floor
        if limits.max_backlog_size is not None:
            upto = max(upto, state.last_id - limits.max_backlog_size)
        if limits.max_backlog_age is not None:
            oldest = now - limits.max_backlog_age

            def is_old(record: Record) -> bool:
                return record.published_at < oldest

            if await self._last(state, upto + 1, upto + 1, is_old) > upto:  # mostly it isn't
                upto = await self._last(state, upto + 1, state.last_id, is_old)
        return upto

    async def _consumed(
        self, state: ChannelState, upto: int, ends: Sequence[Position], epoch: str
    ) -> int:
        """Return the newest message id up to *upto* that all are done with."""
        if not ends or any(end.epoch != epoch for end in ends):
            return state.floor
        end = min(end.global_id for end in ends)
        last = await self._last(state, upto, upto, lambda one: one.global_id <= end)
        if last == upto:
            return upto
        return await self._last(state, state.floor + 1, upto, lambda one: one.global_id <= end)

    async def _last(
        self, state: ChannelState, low: int, high: int, holds: Callable[[Record], bool]
    ) -> int:
        """Return the last id from *low* to *high* for which *holds* does, or the one before *low*.

        It holds for all up to some message and for none after that one.
        """
        while low <= high:
            middle = low if low == high else (low + high) // 2
            page = await self._log.read(state.key, middle - 1, 1)
            record = page.records[0] if page.records else None
            # What others trimmed meanwhile is gone either way.
            if record is None or record.message_id > middle or holds(record):
                low = middle + 1
            else:
                high = middle - 1
        return low - 1
