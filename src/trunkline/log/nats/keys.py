"""Idempotency keys: the server remembers their ids, and the stored message is the receipt.

A draft with a key is sent with a ``Nats-Msg-Id``. The server answers a repeat by naming the first
message's sequence, a batch with a repeat by refusing it. A message with a key stays stored, hidden
if need be, until its receipt expires; when the server remembers an id for longer than that, the
next use of the key gets another id, which ends in the sequence of the expired one.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
from typing import Final

import msgspec

from trunkline.errors import LogUnavailableError
from trunkline.log.admission import KnownKey, fingerprint
from trunkline.log.nats.courier import Courier
from trunkline.log.nats.envelope import CONDITION, PREAMBLE, Sheet, record_of, sheet_of
from trunkline.log.nats.era import Era
from trunkline.log.nats.jetstream import (
    DUPLICATE_IN_BATCH,
    NO_MESSAGE,
    PENDING_LAST,
    WRONG_LAST,
    ApiError,
    JetStream,
    Stored,
    UnansweredError,
    ack_of,
)
from trunkline.log.nats.line import LATER, SOON, Line
from trunkline.log.nats.plan import Lookups, Plan, msg_id
from trunkline.log.retention import Retention
from trunkline.model.message import Draft
from trunkline.runtime.clock import Clock, jitter

#: A sequence that no channel is ever at.
NEVER: Final = 2**62
ATTEMPTS: Final = 200
ASK: Final = 3.0


class Keys:
    """Find out which keys are in use.

    Args:
        line: The line.
        jet: The API.
        courier: Carries messages.
        retention: Says how long a key is remembered.
        clock: Tells the time.
    """

    def __init__(
        self,
        line: Line,
        jet: JetStream,
        courier: Courier,
        *,
        retention: Retention,
        clock: Clock,
    ) -> None:
        self._line = line
        self._jet = jet
        self._courier = courier
        self._retention = retention
        self._clock = clock
        self._nonce = secrets.token_urlsafe(6).encode()
        self._count = 0

    async def resolve(self, era: Era, drafts: Iterable[Draft], lookups: Lookups) -> None:
        """Look up which of some drafts' keys are in use, and note their first receipts."""
        for draft in drafts:
            name = (draft.channel, draft.key or "")
            while name not in lookups.known and await self._is_used(era, draft, lookups):
                seq = await self._first(era, draft, lookups)
                await self.take(draft, await self.stored(era, seq), lookups, seq=seq)

    async def stored(self, era: Era, seq: int) -> tuple[Stored, Sheet] | None:
        """Return a message by its sequence, as the leader has it, or None when it is gone."""
        try:
            found = await self._jet.at(era.stream, seq)
        except ApiError as error:
            if error.number == NO_MESSAGE:
                return None
            raise
        sheet = None if found is None else sheet_of(found.seq, found.header)
        return None if found is None or sheet is None else (found, sheet)

    async def take(
        self, draft: Draft, found: tuple[Stored, Sheet] | None, lookups: Lookups, *, seq: int
    ) -> None:
        """Note what the first message under a draft's key says.

        Args:
            draft: The draft.
            found: The message, None when it is gone.
            lookups: Takes the receipt, or what tells the key from its expired use.
            seq: The message's sequence.
        """
        name = (draft.channel, draft.key or "")
        oldest = self._clock.now() - self._retention.receipt_age
        if found is None or found[1].at < oldest:
            lookups.generations[name] = f".{seq}"
            return
        stored, sheet = found
        record = record_of(draft.channel, sheet, stored.payload, at=sheet.at)
        first = msgspec.structs.replace(
            draft, data=record.data, audience=record.audience, headers=record.headers
        )
        lookups.known[name] = KnownKey(fingerprint(first), sheet.message_id, sheet.seq)

    async def _is_used(self, era: Era, draft: Draft, lookups: Lookups) -> bool:
        """Ask without storing anything: a batch looks for repeats before it looks at conditions."""
        for attempt in range(ATTEMPTS):
            self._count += 1
            header = (
                PREAMBLE
                + CONDITION % NEVER
                + b"Nats-Batch-Id: probe-%b-%d\r\n" % (self._nonce, self._count)
                + b"Nats-Batch-Sequence: 1\r\nNats-Batch-Commit: 1\r\nNats-Msg-Id: "
                + msg_id(draft.channel, draft.key or "", lookups)
                + b"\r\n\r\n"
            )
            answer = await self._courier.call(
                era.subject(draft.channel), b"", within=ASK, header=header
            )
            ack = None if answer is None else ack_of(answer)
            number = 0 if ack is None or ack.error is None else ack.error.err_code
            if number == DUPLICATE_IN_BATCH:
                return True
            if number in {WRONG_LAST, PENDING_LAST}:
                return False
            await self._pause(era, attempt)
        raise LogUnavailableError(f"NATS does not say whether the key {draft.key!r} is in use")

    async def _first(self, era: Era, draft: Draft, lookups: Lookups) -> int:
        """Ask for the sequence under a key that is in use: a single publish is told it."""
        alone = msgspec.structs.replace(draft, expected_version=None)
        for attempt in range(ATTEMPTS):
            last = await self._jet.last(era.stream, era.subject(draft.channel))
            era.admit(draft.channel, None if last is None else sheet_of(last.seq, last.header))
            plan = Plan([[alone]], era, lookups, retention=self._retention, now=self._clock.now())
            plan.name = b"%b.%d" % (self._nonce, self._count)
            (command,) = plan.commands(b"")
            subject, header, payload = command
            answer = await self._courier.call(subject, payload, within=ASK, header=header)
            ack = None if answer is None else ack_of(answer)
            if ack is not None and ack.error is None:
                if not ack.duplicate:
                    plan.stored(ack.seq)  # the id expired in this very moment
                return ack.seq
            await self._pause(era, attempt)
        raise LogUnavailableError(f"NATS does not say where the key {draft.key!r} was used")

    async def _pause(self, era: Era, attempt: int) -> None:
        if await self._line.recover(era):
            raise UnansweredError("the line was reset meanwhile")
        await asyncio.sleep(jitter(min(LATER, SOON * (attempt + 1))))
