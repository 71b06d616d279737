"""Moving a batch from an outbox to a log, so that a crash at any point neither loses nor doubles.

A log in the same database takes the batch in the commit that empties the outbox. For any other
log the batch is noted first, appended under keys made of the rows' numbers, and removed at last;
whoever finds the note of a batch appends it again under the same keys, which the log recognizes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

import msgspec

from trunkline.errors import ConflictError, InvalidMessageError, LogError, TrunklineError
from trunkline.log.joint import JointLog
from trunkline.log.port import Group, Log, Outcome
from trunkline.model.message import Draft
from trunkline.runtime.clock import Clock
from trunkline.sql.database import Transaction
from trunkline.store.envelope import unseal
from trunkline.store.lease import Lease
from trunkline.store.outbox import Entry, Outbox, Parked
from trunkline.store.statements import statements_for

logger = logging.getLogger(__name__)

#: Of the time that a log remembers keys, the part after which a noted batch is in doubt.
TRUST = 0.9


class Transfer(Protocol):
    """Move batches."""

    async def move(self) -> int:
        """Move one batch and return how many messages it had.

        Raises:
            LeaseLostError: Another process does it now; nothing was moved.
            LogError: The outbox or the log failed; what was not moved is still there.
        """


class Batch:
    """Be what is on its way: each transaction's messages as a group, what is no message aside.

    Args:
        groups: The outbox's entries, transaction by transaction.
        now: Unix seconds.
        ident: Makes keys for messages without one out of this and their numbers; None for none.
    """

    def __init__(
        self, groups: Sequence[Sequence[Entry]], *, now: float, ident: str | None = None
    ) -> None:
        self._now = now
        self._ident = ident
        self.seqs = [entry.seq for group in groups for entry in group]
        self.parked: list[Parked] = []
        self.entries: list[list[Entry]] = []
        self.drafts: list[list[Draft]] = []
        for group in groups:
            entries, drafts = [], []
            for entry in group:
                draft = self._unsealed(entry)
                if draft is not None:
                    entries.append(entry)
                    drafts.append(draft)
            if drafts:
                self.entries.append(entries)
                self.drafts.append(drafts)

    def _unsealed(self, entry: Entry) -> Draft | None:
        try:
            draft = unseal(entry.sealed)
        except InvalidMessageError as error:
            self._park(entry, error)
            return None
        if self._ident is not None and draft.key is None:
            key = f"__trunkline {self._ident} {entry.seq}"
            return msgspec.structs.replace(draft, key=key)
        return draft

    def refused(self, outcomes: Sequence[Outcome]) -> Batch | None:
        """Return the batch of what was refused, each message by itself, or None.

        Raises:
            LogError: It isn't refused for ever.
        """
        singles: list[list[Entry]] = []
        for entries, outcome in zip(self.entries, outcomes, strict=True):
            if isinstance(outcome, LogError):
                raise outcome
            if isinstance(outcome, TrunklineError):
                singles += ([entry] for entry in entries)
        return Batch(singles, now=self._now, ident=self._ident) if singles else None

    def park_refused(self, outcomes: Sequence[Outcome]) -> None:
        """Park every message whose group was refused."""
        for entries, outcome in zip(self.entries, outcomes, strict=True):
            if isinstance(outcome, TrunklineError):
                for entry in entries:
                    self._park(entry, outcome)

    def _park(self, entry: Entry, error: TrunklineError) -> None:
        text = f"{type(error).__name__}: {error}"
        logger.error("message %d of the outbox is parked: %s", entry.seq, text)
        self.parked.append(Parked(entry.seq, entry.sealed, text, self._now))


class JointTransfer:
    """Move batches to a log in the outbox's own database.

    Args:
        outbox: Where from.
        log: Where to.
        lease: Says who may.
        clock: Tells the time.
    """

    def __init__(self, outbox: Outbox, log: JointLog, lease: Lease, clock: Clock) -> None:
        self._outbox = outbox
        self._log = log
        self._lease = lease
        self._clock = clock

    async def move(self) -> int:
        """Move one batch in one commit, and return how many messages it had."""
        async with self._log.transaction() as tx:
            await self._lease.check(tx)
            groups = await self._outbox.read(tx)
            if not groups:
                return 0
            batch = Batch(groups, now=self._clock.now())
            await self._outbox.remove(tx, batch.seqs)
            parked = list(batch.parked)
            outcomes = await tx.append(batch.drafts) if batch.drafts else ()
            rest = batch.refused(outcomes)
            if rest is not None:
                rest.park_refused(await tx.append(rest.drafts))
                parked += rest.parked
            await self._outbox.park(tx, parked)
            return len(batch.seqs)


class NotedTransfer:
    """Move batches to a log elsewhere.

    Args:
        outbox: Where from.
        log: Where to.
        lease: Says who may.
        clock: Tells the time.
        receipt_age: Seconds that the log remembers keys.
    """

    def __init__(
        self, outbox: Outbox, log: Log, lease: Lease, *, clock: Clock, receipt_age: float
    ) -> None:
        self._outbox = outbox
        self._log = log
        self._lease = lease
        self._clock = clock
        self._receipt_age = receipt_age
        database = outbox.database
        self._sql = statements_for(database.dialect, database.schema)

    async def move(self) -> int:
        """Note a batch, or find a noted one; append it; remove it; say how many it had."""
        async with self._outbox.database.transaction() as tx:
            await self._lease.check(tx)
            groups, begun_at = await self._note(tx)
        if not groups:
            return 0
        now = self._clock.now()
        batch = Batch(groups, now=now, ident=self._outbox.ident)
        parked = list(batch.parked)
        if now - begun_at > self._receipt_age * TRUST:
            doubt: Outcome = ConflictError(
                "it was on its way when the relay was interrupted, for so long that the log may "
                "have forgotten: look whether it arrived, then retry or drop it"
            )
            batch.park_refused([doubt] * len(batch.drafts))
            parked = batch.parked
        else:
            parked += await self._append(batch)
        async with self._outbox.database.transaction() as tx:
            await self._lease.check(tx)
            await self._outbox.remove(tx, batch.seqs)
            await self._outbox.park(tx, parked)
            await tx.execute(self._sql.forget_relayed)
        return len(batch.seqs)

    async def _note(self, tx: Transaction) -> tuple[list[list[Entry]], float]:
        noted = await tx.fetch(self._sql.read_relayed)
        if noted:
            begun_at, text = noted[0]
            seqs = msgspec.json.decode(text, type=list[int])
            return await self._outbox.read_these(tx, seqs), begun_at
        groups = await self._outbox.read(tx)
        now = self._clock.now()
        if groups:
            seqs = [entry.seq for group in groups for entry in group]
            await tx.execute(self._sql.note_relayed, now, msgspec.json.encode(seqs).decode())
        return groups, now

    async def _append(self, batch: Batch) -> list[Parked]:
        groups: list[Group] = list(batch.drafts)
        rest = batch.refused(await self._log.append(groups)) if groups else None
        if rest is None:
            return []
        rest.park_refused(await self._log.append(rest.drafts))
        return rest.parked
