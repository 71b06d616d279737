"""Carrying an append through: decide it, send it, and go on until it is settled."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from functools import partial
from typing import Final

from trunkline.errors import LogError, LogUnavailableError, OutcomeUnknownError
from trunkline.log.nats.courier import Answer, Courier
from trunkline.log.nats.finding import Finder
from trunkline.log.nats.jetstream import (
    STREAM_NOT_FOUND,
    ApiError,
    JetStream,
    UnansweredError,
    ack_of,
)
from trunkline.log.nats.keys import Keys
from trunkline.log.nats.line import LATER, SOON, Line
from trunkline.log.nats.plan import Plan, UnknownChannelError
from trunkline.log.nats.settling import Judge, Sent, Shipment
from trunkline.log.nats.volley import Shot, Volley
from trunkline.log.retention import Retention
from trunkline.model.channel import ChannelKey
from trunkline.runtime.clock import Clock, jitter

logger = logging.getLogger(__name__)

#: Seconds to wait for the acknowledgement of one copy.
ATTEMPT: Final = 3.0
AGAIN: Final = "publishing it again under the same key is safe"


class _Course:
    """Be how far an append has come: how it was sent, and what came back."""

    __slots__ = ("answer", "plan")

    def __init__(self, plan: Sent | None, answer: Answer | None) -> None:
        self.plan = plan
        self.answer = answer

    @property
    def is_doubtful(self) -> bool:
        """Tell whether a copy of it may be stored, or may yet be."""
        return self.plan is not None and self.plan.is_doubtful


def _failure(course: _Course, error: LogError) -> LogError:
    """Return the error of an append that failed for good, or of which nobody knows."""
    if not course.is_doubtful:
        return error
    return OutcomeUnknownError(f"it is not known whether the append is stored: {error}; {AGAIN}")


class Shipper:
    """Carry shipments, any number at once, of which no two share a channel.

    Args:
        line: The line.
        jet: The API.
        courier: Carries messages.
        retention: Which limits hold.
        clock: Tells the time.
        timeout: Seconds within which an append is decided.
    """

    def __init__(
        self,
        line: Line,
        jet: JetStream,
        courier: Courier,
        *,
        retention: Retention,
        clock: Clock,
        timeout: float,
    ) -> None:
        self._line = line
        self._jet = jet
        self._courier = courier
        self._retention = retention
        self._clock = clock
        self.timeout = timeout
        self._nonce = secrets.token_urlsafe(6)
        self._count = 0
        self._tasks: set[asyncio.Task[None]] = set()
        keys = Keys(line, jet, courier, retention=retention, clock=clock)
        self._finder = Finder(jet)
        self.judge = Judge(line, jet, keys, clock)

    def ship(self, shipment: Shipment) -> None:
        """Send at once what can be decided at once; look up the rest first."""
        shipment.deadline = self._clock.monotonic() + self.timeout
        plan = None if self._line.is_suspect else self._decide(shipment)
        if plan is None or plan.refused or not plan.is_ready:
            self._mend(shipment, None, None)
        elif not plan.rows:
            shipment.outcomes = plan.outcomes(0)
            shipment.landed(shipment)
        else:
            self._send(plan, partial(self._hear, shipment, plan))

    def volley(self) -> Volley:
        """Begin to decide single drafts."""
        return Volley(self._line.era, self._retention, self._clock.now())

    def fire(self, shot: Shot) -> None:
        """Send a single draft that is decided."""
        shot.name = self._new_name()
        ((subject, header, payload),) = shot.commands(b"")
        self._courier.ask(subject, header, payload, shot.hear, within=ATTEMPT)

    def mend(self, shipment: Shipment, shot: Shot, answer: Answer | None) -> None:
        """Settle a shot that did not simply succeed."""
        shipment.deadline = self._clock.monotonic() + self.timeout
        self._mend(shipment, shot, answer)

    async def drain(self) -> None:
        """Wait for everything that is being mended."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    def _decide(self, shipment: Shipment) -> Plan | None:
        try:
            plan = Plan(
                shipment.groups,
                self._line.era,
                shipment.lookups,
                retention=self._retention,
                now=self._clock.now(),
            )
        except UnknownChannelError:
            return None
        plan.name = self._new_name()
        return plan

    def _new_name(self) -> bytes:
        self._count += 1
        return f"{self._nonce}{self._count:x}".encode()

    def _send(self, plan: Sent, hear: Callable[[Answer | None], None]) -> None:
        *parts, last = plan.commands(self._new_name() if len(plan.rows) > 1 else b"")
        for one in parts:
            self._courier.post(*one)
        self._courier.ask(*last, hear, within=ATTEMPT)

    def _hear(self, shipment: Shipment, plan: Sent, answer: Answer | None) -> None:
        if answer is not None:
            ack = ack_of(answer)
            if ack is not None and ack.error is None and not ack.duplicate:
                self._land(shipment, plan, ack.seq - len(plan.rows) + 1)
                return
        self._mend(shipment, plan, answer)

    def _land(self, shipment: Shipment, plan: Sent, base: int) -> None:
        if base:
            plan.stored(base)
        shipment.outcomes = plan.outcomes(base)
        shipment.landed(shipment)

    def _mend(self, shipment: Shipment, plan: Sent | None, answer: Answer | None) -> None:
        course = _Course(plan, answer)
        task = asyncio.get_running_loop().create_task(self._carry(shipment, course))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, shipment: Shipment, course: _Course) -> None:
        try:
            plan, base = await self._persist(shipment, course)
        except ApiError as error:
            shipment.error = _failure(course, LogError(str(error)))
        except LogError as error:
            shipment.error = error
        except Exception as error:
            logger.exception("an append failed")
            shipment.error = _failure(course, LogError(f"the append failed: {error!r}"))
        else:
            self._land(shipment, plan, base)
            return
        shipment.landed(shipment)

    async def _persist(self, shipment: Shipment, course: _Course) -> tuple[Sent, int]:
        """Go on until the append is stored, or there is nothing to store."""
        pause = SOON
        while True:
            try:
                found = await self._step(shipment, course)
            except (UnansweredError, ApiError) as error:
                if isinstance(error, ApiError) and error.number != STREAM_NOT_FOUND:
                    raise
                self._check_deadline(shipment, course)
                if not await self._recover(course, error):
                    await asyncio.sleep(jitter(pause))
                    pause = min(LATER, pause * 2)
                continue
            if found is not None:
                return found
            self._check_deadline(shipment, course)

    async def _step(self, shipment: Shipment, course: _Course) -> tuple[Sent, int] | None:
        """Decide and send if need be, and judge what comes back."""
        plan = course.plan
        if plan is None:
            plan = course.plan = await self._prepare(shipment)
            if not plan.rows:
                return plan, 0
            course.answer = await self._try(plan)
        verdict = await self.judge.judge(shipment, plan, course.answer)
        if verdict.base:
            return plan, verdict.base
        if verdict.is_same:
            course.answer = await self._try(plan)
        else:
            course.plan = None
        return None

    async def _recover(self, course: _Course, error: LogError) -> bool:
        """Look what is wrong; tell whether the line has begun a new epoch."""
        logger.debug("an append waits: %s", error)
        plan = course.plan
        era = self._line.era if plan is None else plan.era
        course.answer = None
        if await self._line.recover(era):
            if plan is None or not plan.is_doubtful or self._line.era.token != era.token:
                course.plan = None  # it is refused by now, or the reset erased it
            return True
        if plan is not None and not plan.is_doubtful:
            course.plan = None
        return False

    async def _try(self, plan: Sent) -> Answer | None:
        done: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        self._send(plan, lambda answer: None if done.done() else done.set_result(answer))
        return await done

    def _check_deadline(self, shipment: Shipment, course: _Course) -> None:
        if self._clock.monotonic() < shipment.deadline:
            return
        text = f"NATS did not take the append within {self.timeout:g} seconds"
        if course.is_doubtful:
            raise OutcomeUnknownError(f"{text}: it is not known whether it is stored; {AGAIN}")
        raise LogUnavailableError(f"{text}: nothing was stored")

    async def _prepare(self, shipment: Shipment) -> Plan:
        """Decide a shipment with everything looked up that it takes."""
        fresh: set[ChannelKey] = set()
        is_probed = False
        while True:
            if self._line.is_suspect:
                await self._line.confirm()
            era = self._line.era
            if not era.is_timed:
                await self._finder.catch_up(era)
            unknown = {key for key in shipment.channels if era.entry(key) is None}
            await self.judge.load(era, unknown)
            fresh |= unknown
            plan = self._decide(shipment)
            if plan is None or plan.era is not era:
                continue
            refused = [draft for index in plan.refused for draft in shipment.groups[index]]
            stale = {draft.channel for draft in refused} - fresh
            if stale:
                await self.judge.load(era, stale)
                fresh |= stale
                continue
            keyed = [draft for draft in refused if draft.key is not None]
            if keyed and not is_probed:
                is_probed = True
                await self.judge.keys.resolve(era, keyed, shipment.lookups)
                continue
            for part, age in plan.open_parts:
                await self._finder.settle_floor(era, part, age, self._clock.now())
            return plan
