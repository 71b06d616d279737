"""Moving a batch from an outbox to a log, so that a crash at any point neither loses nor doubles.

A log in the same database takes the batch in the commit that empties the outbox. For any other
log the batch is noted first, appended under keys made of the rows' numbers, and removed at last;
whoever finds the note of a batch appends it again under the same keys, which the log recognizes.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from trunkline.errors import ConflictError, LogError, LogUnavailableError, TrunklineError
from trunkline.log.admission import check_kind
from trunkline.log.joint import JointLog, JointTransaction
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


@dataclass
class Load:
    """Be one transaction's messages.

    Args:
        entries: As in the outbox.
        drafts: What they hold.
        is_risky: Whether a log may refuse them for good.
    """

    entries: list[Entry]
    drafts: list[Draft]
    is_risky: bool


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
        self.groups: list[Load] = []
        for group in groups:
            load = Load([], [], is_risky=False)
            for entry in group:
                self._add(entry, load)
            if load.drafts:
                self.groups.append(load)

    def _add(self, entry: Entry, load: Load) -> None:
        try:
            draft = unseal(entry.sealed)
            check_kind(draft)
        except TrunklineError as error:
            self.park([entry], error)
            return
        if draft.key is not None or draft.expected_version is not None:
            load.is_risky = True
        elif self._ident is not None:
            key = f"__trunkline {self._ident} {entry.seq}"
            draft = msgspec.structs.replace(draft, key=key)
        load.entries.append(entry)
        load.drafts.append(draft)

    def runs(self) -> Iterator[list[Load]]:
        """Yield neighbours that can be appended together: one that may be refused comes alone.

        Else what is left of a refused one would come after its successors.
        """
        for is_risky, loads in itertools.groupby(self.groups, key=lambda load: load.is_risky):
            if is_risky:
                yield from ([load] for load in loads)
            else:
                yield list(loads)

    def park(self, entries: Sequence[Entry], error: TrunklineError) -> None:
        """Put entries aside."""
        text = f"{type(error).__name__}: {error}"
        for entry in entries:
            logger.error("message %d of the outbox is parked: %s", entry.seq, text)
            self.parked.append(Parked(entry.seq, entry.sealed, text, self._now))


class RefusedError(ConflictError):
    """Report that a log refused one of several transactions."""


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
        try:
            return await self._move(self._append_all)
        except RefusedError:
            return await self._move(self._append_each)
        except LogError as error:
            if isinstance(error, LogUnavailableError):
                raise
            # The database refuses something for what is in it: find out which.
            return await self._move(self._append_each)

    async def _move(self, append: Callable[[JointTransaction, Batch], Awaitable[None]]) -> int:
        async with self._log.transaction() as tx:
            await self._lease.check(tx)
            groups = await self._outbox.read(tx)
            if not groups:
                return 0
            batch = Batch(groups, now=self._clock.now())
            await self._outbox.remove(tx, batch.seqs)
            if batch.groups:
                await append(tx, batch)
            await self._outbox.park(tx, batch.parked)
            return len(batch.seqs)

    async def _append_all(self, tx: JointTransaction, batch: Batch) -> None:
        outcomes = await tx.append([load.drafts for load in batch.groups])
        if any(isinstance(outcome, TrunklineError) for outcome in outcomes):
            raise RefusedError("one of the transactions is refused")

    async def _append_each(self, tx: JointTransaction, batch: Batch) -> None:
        for load in batch.groups:
            if await self._refusal(tx, load.drafts) is None:
                continue
            for entry, draft in zip(load.entries, load.drafts, strict=True):
                error = await self._refusal(tx, [draft])
                if error is not None:
                    batch.park([entry], error)

    async def _refusal(
        self, tx: JointTransaction, drafts: Sequence[Draft]
    ) -> TrunklineError | None:
        await tx.set_savepoint("trunkline_load")
        try:
            outcome = (await tx.append([drafts]))[0]
        except LogUnavailableError:
            raise
        except LogError as error:
            await tx.undo_savepoint("trunkline_load")
            return error
        await tx.release_savepoint("trunkline_load")
        return outcome if isinstance(outcome, TrunklineError) else None


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
        if now - begun_at > self._receipt_age * TRUST:
            doubt = ConflictError(
                "it was on its way when the relay was interrupted, for so long that the log may "
                "have forgotten: look whether it arrived, then retry or drop it"
            )
            for load in batch.groups:
                batch.park(load.entries, doubt)
        else:
            for run in batch.runs():
                await self._append(run, batch)
        async with self._outbox.database.transaction() as tx:
            await self._lease.check(tx)
            await self._outbox.remove(tx, batch.seqs)
            await self._outbox.park(tx, batch.parked)
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

    async def _append(self, run: Sequence[Load], batch: Batch) -> None:
        groups: list[Group] = [load.drafts for load in run]
        for load, outcome in zip(run, await self._log.append(groups), strict=True):
            if _refusal_in(outcome) is None:
                continue
            singles: list[Group] = [(draft,) for draft in load.drafts]
            answers = await self._log.append(singles)
            for entry, answer in zip(load.entries, answers, strict=True):
                if (error := _refusal_in(answer)) is not None:
                    batch.park([entry], error)


def _refusal_in(outcome: Outcome) -> TrunklineError | None:
    if isinstance(outcome, LogError):
        raise outcome  # not for ever: the whole batch is tried again, under the same keys
    return outcome if isinstance(outcome, TrunklineError) else None
