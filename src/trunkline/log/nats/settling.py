"""Settling whatever comes instead of an acknowledgement: doubt, conflict, a key in use.

Sent under a condition, a message is stored at most once, however often it is sent. So an answer
that does not come is settled by looking at the message that follows the condition: if it bears the
append's name, the append is stored; if another's, no late copy can be; if there is none, the same
is sent again.

Among several servers a refusal is no answer either. One that hung and goes on believes for a while
that it still leads, takes part of what is sent, and refuses what its successor has stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from trunkline.errors import LogError, OutcomeUnknownError
from trunkline.log.nats.courier import Answer
from trunkline.log.nats.envelope import sheet_of
from trunkline.log.nats.era import Entry, Era
from trunkline.log.nats.finding import Finder
from trunkline.log.nats.jetstream import (
    DUPLICATE_IN_BATCH,
    DUPLICATE_IN_PROCESS,
    PENDING_LAST,
    WRONG_LAST,
    Ack,
    ApiError,
    JetStream,
    Refusal,
    RegressedError,
    UnansweredError,
    ack_of,
)
from trunkline.log.nats.keys import Keys
from trunkline.log.nats.line import SOON, Line
from trunkline.log.nats.plan import Lookups, Part, Plan
from trunkline.log.nats.volley import Shot
from trunkline.log.port import Group, Outcome
from trunkline.model.channel import ChannelKey
from trunkline.model.message import Draft
from trunkline.runtime.clock import Clock, jitter

#: Seconds to wait, after a conflict, to hear what the other writer stored.
NEWS: Final = 0.01
#: Seconds for which a channel counts as shared after a conflict.
CONTESTED: Final = 5.0
#: Errors after which nothing was stored and the same may be tried anew: a key that is just being
#: used, a batch that was abandoned, incomplete or one too many, a server that is short of room.
TRY_ANEW: Final = frozenset({DUPLICATE_IN_PROCESS, 10176, 10198, 10210, 10211, 10167, 10008, 10009})

#: How an append is sent.
Sent = Plan | Shot
Land = Callable[["Shipment"], None]


class Shipment:
    """Be some groups that are appended together.

    Args:
        groups: The groups, each whole or not at all.
        channels: All their channels.
        landed: Called once, with this, when :attr:`outcomes` or :attr:`error` is set.
    """

    __slots__ = (
        "channels",
        "deadline",
        "error",
        "groups",
        "landed",
        "lookups",
        "outcomes",
        "tries",
    )

    def __init__(
        self, groups: Sequence[Group], channels: Iterable[ChannelKey], landed: Land
    ) -> None:
        self.groups = groups
        self.channels = channels
        self.landed = landed
        self.lookups = Lookups()
        self.deadline = 0.0
        self.tries = 0
        self.outcomes: Sequence[Outcome] = ()
        self.error: LogError | None = None


class Verdict(NamedTuple):
    """Say what to do next.

    Args:
        base: The global id of the append's first message, when it is stored.
        is_same: Otherwise: whether the same is sent again, rather than decided anew.
    """

    base: int
    is_same: bool = False


SEND_AGAIN: Final = Verdict(0, is_same=True)
DECIDE_ANEW: Final = Verdict(0)


class Judge:
    """Find out what became of appends.

    Args:
        line: The line.
        jet: The API.
        keys: Finds keys in use.
        clock: Tells the time.
    """

    def __init__(self, line: Line, jet: JetStream, keys: Keys, clock: Clock) -> None:
        self._line = line
        self._jet = jet
        self._clock = clock
        self._finder = Finder(jet)
        self.keys = keys
        #: Called after a conflict, so that others' messages are heard of from then on.
        self.contested: Callable[[], None] = lambda: None
        #: Tells whether others' messages are heard of.
        self.hears: Callable[[], bool] = lambda: False

    async def judge(self, shipment: Shipment, plan: Sent, answer: Answer | None) -> Verdict:
        """Decide what an answer means, and learn whatever the next step takes.

        Args:
            shipment: What is appended.
            plan: How it was sent.
            answer: What came back, None for nothing.

        Raises:
            UnansweredError: It could not be found out yet.
            LogError: The append has failed.
        """
        if answer is None:
            plan.is_doubtful = True
            return await self._settle(shipment, plan)
        ack = ack_of(answer)
        if ack is None:  # nobody listens: this copy is lost for certain
            raise UnansweredError("no stream takes the append")
        if ack.error is None:
            return await self._accepted(shipment, plan, ack)
        return await self._refused(shipment, plan, ack.error)

    async def _refused(self, shipment: Shipment, plan: Sent, error: Refusal) -> Verdict:
        number = error.err_code
        is_conflict = number in {WRONG_LAST, PENDING_LAST}
        is_passing = number in TRY_ANEW or error.code == 503
        if self._line.is_replicated and (is_conflict or is_passing):
            plan.is_doubtful = True
        if number == PENDING_LAST:
            await asyncio.sleep(jitter(0.0005, spread=1.0))
        if plan.is_doubtful and (is_conflict or number == DUPLICATE_IN_BATCH):
            verdict = await self._settle(shipment, plan)
            if verdict is SEND_AGAIN and number != PENDING_LAST:
                await asyncio.sleep(jitter(SOON))
            return verdict
        if number == DUPLICATE_IN_BATCH:
            await self.keys.resolve(plan.era, _drafts(shipment, plan), shipment.lookups)
        elif is_conflict:
            await self._conflict(shipment, plan)
        elif is_passing:
            await asyncio.sleep(jitter(SOON))
            return SEND_AGAIN if plan.is_doubtful else DECIDE_ANEW
        else:
            raise ApiError(number, error.description)
        return DECIDE_ANEW

    async def _accepted(self, shipment: Shipment, plan: Sent, ack: Ack) -> Verdict:
        if not ack.duplicate:
            return Verdict(ack.seq - len(plan.rows) + 1)
        found = await self.keys.stored(plan.era, ack.seq)
        if found is not None and found[1].name == plan.name:
            return Verdict(ack.seq)
        draft = _drafts(shipment, plan)[0]
        await self.keys.take(draft, found, shipment.lookups, seq=ack.seq)
        return DECIDE_ANEW

    async def _settle(self, shipment: Shipment, plan: Sent) -> Verdict:
        """Find out what became of a doubtful append."""
        part = plan.first
        found = await self._jet.following(plan.era.stream, part.expected + 1, part.entry.subject)
        if found is None:
            return SEND_AGAIN
        sheet = sheet_of(found.seq, found.header)
        if sheet is not None and sheet.name == plan.name:
            return Verdict(found.seq)
        if sheet is None or sheet.message_id > part.id_before + 1:
            raise OutcomeUnknownError(
                f"it is not known whether the append to {part.entry.key} is stored: what followed "
                "was trimmed while no server answered"
            )
        await self._conflict(shipment, plan)
        return DECIDE_ANEW

    async def _conflict(self, shipment: Shipment, plan: Sent) -> None:
        """Learn what others stored in front of a plan."""
        self.contested()
        shipment.tries += 1
        era = plan.era
        now = self._clock.monotonic()
        parts: list[Part | Shot] = [*plan.parts.values()]
        if len(parts) == 1 and self.hears():
            part = parts[0]
            part.entry.contested = now + CONTESTED
            if part.entry.last_seq == part.expected or part.entry.is_amid:
                await _moved(part.entry)
            if part.entry.last_seq != part.expected:
                return
        keys = [part.entry.key for part in parts]
        if shipment.tries <= 2 and len(keys) > 1:
            await self._finder.lasts(era, keys)
        else:
            await self.load(era, keys)
        for part in parts:
            if part.entry.last_seq != part.expected:
                part.entry.contested = now + CONTESTED

    async def load(self, era: Era, keys: Iterable[ChannelKey]) -> None:
        """Ask the leader for the last messages of some channels."""

        async def load(key: ChannelKey) -> None:
            found = await self._jet.last(era.stream, era.subject(key))
            sheet = None if found is None else sheet_of(found.seq, found.header)
            entry = era.admit(key, sheet)
            if entry.last_id > (0 if sheet is None else sheet.message_id):
                raise RegressedError(f"the leader does not have what was stored on {key}")

        await asyncio.gather(*map(load, keys))


def _drafts(shipment: Shipment, plan: Sent) -> list[Draft]:
    wanted = set(plan.keys)
    return [
        draft
        for group in shipment.groups
        for draft in group
        if draft.key is not None and (draft.channel, draft.key) in wanted
    ]


async def _moved(entry: Entry) -> None:
    """Wait a moment for news of a channel."""
    moved = asyncio.Event()
    entry.moved = moved.set
    try:
        async with asyncio.timeout(NEWS):
            await moved.wait()
    except TimeoutError:
        return
    finally:
        entry.moved = None
