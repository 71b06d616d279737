"""Who waits to append, and what may go together: one lane per channel, one shipment per lane.

On a single server a lone publish is cheap and an atomic batch begins slowly, so every channel
goes by itself, and as a batch when many drafts wait for it. With replicas, or synced writes, one
batch carries whatever waits on all channels; those that other processes write to as well go by
themselves, for one conflict refuses a whole batch.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Sequence
from typing import Final

from trunkline.errors import (
    ChannelKindError,
    LimitExceededError,
    LineClosedError,
    LogError,
    LogUnavailableError,
    MessageTooLargeError,
    TrunklineError,
)
from trunkline.log.nats.courier import Answer
from trunkline.log.nats.envelope import OVERHEAD
from trunkline.log.nats.era import Entry
from trunkline.log.nats.lanes import BATCH_BYTES, BATCH_MESSAGES, Lane, Load, Unit
from trunkline.log.nats.line import Line
from trunkline.log.nats.settling import Shipment
from trunkline.log.nats.shipping import Shipper
from trunkline.log.nats.subjects import tail
from trunkline.log.nats.volley import Shot
from trunkline.log.port import Group, Outcome
from trunkline.model.channel import ChannelKey, Kind
from trunkline.runtime.clock import Clock

#: Drafts that must wait for a channel to make a batch worth its beginning on a single server.
WORTH_A_BATCH: Final = 20
#: What may wait for a turn; further callers wait until there is room.
QUEUED_DRAFTS: Final = 20_000
QUEUED_BYTES: Final = 64 * 1024 * 1024
#: Seconds that a lane waits at most for another process to go first.
MAX_YIELD: Final = 0.05
#: Lanes kept for later.
MAX_LANES: Final = 100_000


class Appends:
    """Take groups, and ship them in their order.

    Args:
        line: Says how shipments are put together.
        shipper: Carries them.
        clock: Tells how long somebody has waited.
        max_payload: The largest message that the server takes, headers included, bytes.
        told: Called when something was appended.
    """

    def __init__(
        self,
        line: Line,
        shipper: Shipper,
        *,
        clock: Clock,
        max_payload: int,
        told: Callable[[], None],
    ) -> None:
        self._line = line
        self._shipper = shipper
        self._clock = clock
        self._max_payload = max_payload - OVERHEAD
        self._timeout = shipper.timeout
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[ChannelKey, Lane] = {}
        self._ready: dict[ChannelKey, Lane] = {}
        self._waiting = 0
        self._waiting_bytes = 0
        self._room = asyncio.Event()
        self._idle = asyncio.Event()
        self._is_due = False
        self._is_closed = False
        self._flying = 0
        self._yielding = 0
        self._big: Shipment | None = None
        self._in_flight: dict[Shipment, Load] = {}

    async def put(self, groups: Sequence[Group]) -> Sequence[Outcome]:
        """Append groups, when there is room, and return their outcomes.

        Raises:
            LogError: Nothing of the call was stored.
            LineClosedError: The log was closed before there was room.
        """
        if self._waiting >= QUEUED_DRAFTS or self._waiting_bytes >= QUEUED_BYTES:
            await self._await_room()
        if self._is_closed:
            raise LineClosedError("this log was closed: nothing of the call was stored")
        if len(groups) == 1:
            group = groups[0]
            refusal = self._refusal(group)
            if refusal is not None:
                return (refusal,)
            return await self._put(groups, sum(draft.size for draft in group))
        outcomes: list[Outcome | None] = [self._refusal(group) for group in groups]
        accepted = iter(
            await self._put_many(
                [group for group, refusal in zip(groups, outcomes, strict=True) if refusal is None]
            )
        )
        return [next(accepted) if one is None else one for one in outcomes]

    async def _put_many(self, groups: Sequence[Group]) -> Sequence[Outcome]:
        """Append groups in as many batches as they need, one after another."""
        outcomes: list[Outcome] = []
        part: list[Group] = []
        count = size = 0
        for group in groups:
            more = sum(draft.size for draft in group)
            if part and (count + len(group) > BATCH_MESSAGES or size + more > BATCH_BYTES):
                outcomes += await self._put_part(part, size, is_first=not outcomes)
                part, count, size = [], 0, 0
            part.append(group)
            count += len(group)
            size += more
        if part:
            outcomes += await self._put_part(part, size, is_first=not outcomes)
        return outcomes

    async def _put_part(
        self, groups: Sequence[Group], size: int, *, is_first: bool
    ) -> Sequence[Outcome]:
        try:
            return await self._put(groups, size)
        except LogError as error:
            if is_first:
                raise
            return [error] * len(groups)

    def _put(self, groups: Sequence[Group], size: int) -> asyncio.Future[Sequence[Outcome]]:
        done: asyncio.Future[Sequence[Outcome]] = self._loop.create_future()
        unit = Unit(groups, done, size=size)
        self._waiting += unit.count
        self._waiting_bytes += size
        for key in unit.channels:
            lane = self._lanes.get(key)
            if lane is None:
                lane = self._lanes[key] = Lane(key)
            lane.units.append(unit)
            self._ready[key] = lane
        self._go_on()
        return done

    def _refusal(self, group: Group) -> Outcome | None:
        if not group:
            return ()
        if len(group) > BATCH_MESSAGES:
            return LimitExceededError("messages per group on NATS", BATCH_MESSAGES, status=413)
        for draft in group:
            if draft.kind is Kind.STREAM:
                return ChannelKindError(
                    f"{draft.channel} cannot be a stream: NATS keeps plain channels; streams live "
                    "on SQL engines and in memory"
                )
            if draft.size > self._max_payload:
                return MessageTooLargeError(draft.size, self._max_payload)
            if not draft.channel.name.isascii() or draft.channel.site_id is not None:
                try:
                    tail(draft.channel)
                except TrunklineError as error:
                    return error
        return None

    async def _await_room(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                while (
                    self._waiting >= QUEUED_DRAFTS or self._waiting_bytes >= QUEUED_BYTES
                ) and not self._is_closed:
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError:
            raise LogUnavailableError(
                f"{self._waiting} messages wait for NATS, which takes none for "
                f"{self._timeout:g} seconds: nothing of the call was stored"
            ) from None

    async def drain(self) -> None:
        """Refuse what is not queued yet, and wait until all else is answered."""
        self._is_closed = True
        self._room.set()
        while self._waiting or self._in_flight or self._flying or self._yielding:
            self._idle.clear()
            await self._idle.wait()
        await self._shipper.drain()

    def _start(self) -> None:
        """Ship whatever may go."""
        self._is_due = False
        ready, self._ready = self._ready, {}
        if self._line.is_batching:
            self._start_batch(ready)
            return
        volley = self._shipper.volley()
        for lane in ready.values():
            units = lane.units
            if lane.is_busy or not units:
                continue
            draft = units[0].draft
            if draft is not None and len(units) < WORTH_A_BATCH and not self._line.is_suspect:
                shot = volley.load(draft)
                if shot is not None:
                    self._fire(shot, lane)
                    continue
            load = Load()
            self._fill_alone(load, lane)
            if load.units:
                self._ship(load)

    def _fire(self, shot: Shot, lane: Lane) -> None:
        unit = lane.units.popleft()
        lane.is_busy = True
        self._waiting -= 1
        self._waiting_bytes -= unit.size
        shot.cargo = (unit, lane)
        shot.hit = self._hit
        shot.missed = self._missed
        self._flying += 1
        self._shipper.fire(shot)

    def _hit(self, shot: Shot, seq: int) -> None:
        unit, lane = shot.cargo
        shot.stored(seq)
        self._told()
        if not unit.done.done():
            unit.done.set_result(shot.outcomes(seq))
        self._flying -= 1
        lane.is_busy = False
        if lane.units:
            self._ready[lane.key] = lane
        self._go_on()

    def _missed(self, shot: Shot, answer: Answer | None) -> None:
        self._flying -= 1
        unit, lane = shot.cargo
        load = Load()
        load.add(unit)
        load.lanes[lane.key] = lane
        shipment = Shipment(unit.groups, unit.channels, self._landed)
        self._in_flight[shipment] = load
        self._shipper.mend(shipment, shot, answer)

    def _go_on(self) -> None:
        if not self._room.is_set():
            self._room.set()
        if self._is_closed:
            self._idle.set()
        if self._ready and not self._is_due:
            # Whoever was woken queues again first, and joins.
            self._is_due = True
            self._loop.call_soon(self._start)

    def _start_batch(self, ready: dict[ChannelKey, Lane]) -> None:
        big = Load()
        now = self._clock.monotonic()
        for key, lane in ready.items():
            if lane.is_busy or not lane.units or key in big.lanes:
                continue
            entry = self._line.era.entry(key)
            if entry is not None and entry.contested > now:
                alone = Load()
                self._fill(alone, [lane])
                if alone.units:
                    self._ship(alone)
            elif self._big is not None or not big.has_room(lane.units[0]):
                self._ready[key] = lane
            else:
                self._fill(big, [lane])
                if lane.units:
                    self._ready.setdefault(key, lane)
        if big.units:
            shipment = self._ship(big)
            # What stores nothing lands at once.
            self._big = shipment if shipment in self._in_flight else None

    def _fill_alone(self, load: Load, lane: Lane) -> None:
        """Take one draft, or a batch when that is worth it."""
        first = lane.units[0]
        if len(first.channels) > 1:
            self._fill(load, [lane])
            return
        if first.count == 1 and len(lane.units) < WORTH_A_BATCH:
            load.add(lane.units.popleft())
            load.lanes[lane.key] = lane
            return
        self._fill(load, [lane])

    def _fill(self, load: Load, lanes: list[Lane]) -> None:
        """Take what stands first in its lanes, as long as there is room."""
        while lanes:
            lane = lanes.pop()
            while lane.units and load.has_room(lane.units[0]):
                unit = lane.units[0]
                if len(unit.channels) == 1:
                    lane.units.popleft()
                    load.lanes[lane.key] = lane
                elif not self._take_whole(load, unit, lanes):
                    break
                load.add(unit)

    def _take_whole(self, load: Load, unit: Unit, lanes: list[Lane]) -> bool:
        """Take a group from all its lanes, if it stands first in each and none is busy."""
        its = [self._lanes[key] for key in unit.channels]
        for lane in its:
            if lane.units[0] is not unit or (lane.is_busy and lane.key not in load.lanes):
                return False
        for lane in its:
            lane.units.popleft()
            if lane.key not in load.lanes:
                load.lanes[lane.key] = lane
                lanes.append(lane)
        return True

    def _ship(self, load: Load) -> Shipment:
        for lane in load.lanes.values():
            lane.is_busy = True
        self._waiting -= load.count
        self._waiting_bytes -= load.size
        groups = load.units[0].groups
        if len(load.units) > 1:
            groups = [group for unit in load.units for group in unit.groups]
        shipment = Shipment(groups, tuple(load.lanes), self._landed)
        self._in_flight[shipment] = load
        load.began = self._clock.monotonic()
        self._shipper.ship(shipment)
        return shipment

    def _landed(self, shipment: Shipment) -> None:
        load = self._in_flight.pop(shipment)
        if shipment is self._big:
            self._big = None
        _answer(shipment, load)
        self._told()
        if len(load.lanes) == 1 and load.count >= WORTH_A_BATCH and self._yield(load):
            return
        self._free(load)

    def _yield(self, load: Load) -> bool:
        """Let another process go first, after a batch to a channel that it writes to as well.

        Both would begin their next batches at once, and one of them for nothing.
        """
        (lane,) = load.lanes.values()
        entry = self._line.era.entry(lane.key)
        now = self._clock.monotonic()
        if entry is None or entry.contested <= now or not self._shipper.judge.hears():
            return False
        wait = min(MAX_YIELD, 1.5 * (now - load.began))
        timer = self._loop.call_later(wait, lambda: self._end_yield(load, entry))

        def end() -> None:
            timer.cancel()
            self._end_yield(load, entry)

        entry.moved = end
        self._yielding += 1
        return True

    def _end_yield(self, load: Load, entry: Entry) -> None:
        entry.moved = None
        self._yielding -= 1
        self._free(load)

    def _free(self, load: Load) -> None:
        for key, lane in load.lanes.items():
            lane.is_busy = False
            if lane.units:
                self._ready[key] = lane
            elif len(self._lanes) > MAX_LANES:
                del self._lanes[key]
        self._go_on()


def _answer(shipment: Shipment, load: Load) -> None:
    """Give every caller its outcomes."""
    start = 0
    for unit in load.units:
        end = start + len(unit.groups)
        if unit.done.done():
            pass
        elif shipment.error is None:
            unit.done.set_result(shipment.outcomes[start:end])
        else:
            # Each caller gets its own, for raising adds to an exception's traceback.
            unit.done.set_exception(copy.copy(shipment.error))
        start = end
