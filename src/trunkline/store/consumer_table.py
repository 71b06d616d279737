"""Durable consumers as the store keeps them: who they are, where they stand, what they missed."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

import msgspec

from trunkline.errors import ConflictError, LeaseLostError
from trunkline.model.interest import Interest
from trunkline.model.message import Limits
from trunkline.model.position import Position
from trunkline.sql.database import Database, Row
from trunkline.store.consumer_statements import consumer_statements

#: Gaps that are remembered of each consumer.
GAPS_KEPT = 100


class Session(Protocol):
    """Run statements in an open transaction."""

    async def execute(self, statement: str, *values: Any) -> int:
        """Run a statement and return how many rows it touched."""

    async def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement once for each row of values."""

    async def fetch(self, statement: str, *values: Any) -> Sequence[Row]:
        """Run a statement and return its rows."""


class Status(StrEnum):
    """Say whether a consumer goes on."""

    RUNNING = "running"
    #: By an operator.
    PAUSED = "paused"
    #: By itself; its reason says why.
    STOPPED = "stopped"


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Be where a consumer stands.

    Args:
        position: The last message that it is done with.
        told: The floor of the last gap that it was told of, in the position's epoch.
        turn: Raised with every decision of an operator.
        status: Whether it goes on.
        reason: Why it doesn't.
        moved_at: When it last moved, Unix seconds.
    """

    position: Position
    told: int = 0
    turn: int = 0
    status: Status = Status.RUNNING
    reason: str = ""
    moved_at: float = 0.0


class Definition(NamedTuple):
    """Be a consumer as it was declared.

    Args:
        name: Its name.
        interest: Which channels.
        keep: Up to which limits trimming waits for it; None for not at all.
    """

    name: str
    interest: Interest
    keep: Limits | None


class MetGap(NamedTuple):
    """Be a gap that a consumer met.

    Args:
        reason: ``trimmed`` or ``reset``.
        position: Where it stood.
        floor: The newest message that was gone.
        met_at: When, Unix seconds.
    """

    reason: str
    position: str
    floor: int
    met_at: float


class Fence(NamedTuple):
    """Say under which lease a consumer works.

    Args:
        lease: The lease's name.
        epoch: The epoch under which it is held.
    """

    lease: str
    epoch: int


class ConsumerTable:
    """Read and write what is kept of the consumers.

    Args:
        database: Where, its tables in place.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._sql = consumer_statements(database.dialect, database.schema)

    async def declare(self, one: Definition, standing: Standing) -> None:
        """Note a consumer; one that is known keeps its standing."""
        async with self.database.transaction() as tx:
            await self.declare_in(tx, one, standing)

    async def declare_in(self, tx: Session, one: Definition, standing: Standing) -> None:
        """Do so as part of a transaction."""
        keep = None if one.keep is None else msgspec.json.encode(one.keep).decode()
        interest = msgspec.json.encode(one.interest, order="deterministic").decode()
        await tx.execute(self._sql.declare, one.name, interest, keep)
        begun = (one.name, *standing.position, standing.told, standing.moved_at)
        is_new = await tx.execute(self._sql.begin, *begun)
        if is_new and standing.status is not Status.RUNNING:
            await self.set_status(tx, one.name, standing.status, standing.reason)

    async def definitions(self) -> list[Definition]:
        """Return all consumers as they were declared, by name."""
        rows = await self.database.fetch(self._sql.definitions)
        return [
            Definition(
                row[0],
                msgspec.json.decode(row[1], type=Interest),
                None if row[2] is None else msgspec.json.decode(row[2], type=Limits),
            )
            for row in rows
        ]

    async def standing(self, name: str, session: Session | None = None) -> Standing | None:
        """Return where a consumer stands, or None for one that never began.

        Args:
            name: Which.
            session: The transaction to look in, if not outside of any.
        """
        rows = await (session or self.database).fetch(self._sql.read, name)
        if not rows:
            return None
        epoch, number, told, turn, status, reason, moved_at = rows[0]
        return Standing(
            position=Position(epoch, number),
            told=told,
            turn=turn,
            status=Status(status),
            reason=reason,
            moved_at=moved_at,
        )

    async def holder(self, lease: str) -> str:
        """Return who holds a lease, or an empty text."""
        rows = await self.database.fetch(self._sql.read_holder, lease)
        return str(rows[0][0]) if rows else ""

    async def holds(self, fence: Fence) -> bool:
        """Tell whether a lease is still held under an epoch."""
        return bool(await self.database.fetch(self._sql.holds, *fence))

    async def move(
        self, tx: Session, name: str, new: Standing, fence: Fence, *, advances: bool = False
    ) -> None:
        """Move on, as part of a transaction; the row stays locked until its end.

        Args:
            tx: The transaction.
            name: Which consumer.
            new: Where it stands then.
            fence: Under which lease.
            advances: Whether that must lie ahead of what is kept: a commit whose answer was lost
                has moved it there already.

        Raises:
            LeaseLostError: Another process has taken over, or an operator has decided.
        """
        ahead = new.position if advances else ("", -1)
        moved = await tx.execute(
            self._sql.move,
            *new.position,
            new.told,
            new.moved_at,
            name,
            new.turn,
            *ahead,
            *fence,
        )
        if not moved:
            raise LeaseLostError(f"somebody else has decided about the consumer {name!r}")

    async def set_status(self, tx: Session, name: str, status: Status, reason: str) -> None:
        """Have a consumer go on or not; a page under way may still be committed."""
        await tx.execute(self._sql.set_status, str(status), reason, name)

    async def decide(self, name: str, new: Standing) -> None:
        """Write an operator's decision; whatever is under way under the old turn can't commit.

        Raises:
            ConflictError: It has moved since *new* was read, by another decision.
        """
        async with self.database.transaction() as tx:
            await self.decide_in(tx, name, new)

    async def decide_in(self, tx: Session, name: str, new: Standing) -> None:
        """Do so as part of a transaction.

        Raises:
            ConflictError: As for :meth:`decide`.
        """
        standing = (*new.position, new.told, str(new.status), new.reason)
        if not await tx.execute(self._sql.decide, *standing, name, new.turn):
            raise ConflictError(f"somebody else decided about the consumer {name!r}: look again")

    async def nudge(self, tx: Session, name: str) -> None:
        """Have a consumer look at everything anew."""
        await tx.execute(self._sql.nudge, name)

    async def forget_parked(self, tx: Session, name: str) -> None:
        """Forget what a consumer set aside, as part of a transaction."""
        await tx.execute(self._sql.forget_parked, name)

    async def note_gap(self, tx: Session, name: str, gap: MetGap) -> None:
        """Remember a gap, and forget the oldest of many."""
        await tx.execute(self._sql.note_gap, name, *gap)
        await tx.execute(self._sql.drop_gaps, name, name, GAPS_KEPT)

    async def gaps(self, name: str, limit: int = GAPS_KEPT) -> list[MetGap]:
        """Return the gaps that a consumer met, newest first."""
        return [MetGap(*row) for row in await self.database.fetch(self._sql.gaps, name, limit)]

    async def forget(self, name: str) -> None:
        """Forget a consumer and all that is kept of it."""
        sql = self._sql
        async with self.database.transaction() as tx:
            for statement in (
                sql.forget_parked,
                sql.forget_gaps,
                sql.forget_consumer,
                sql.forget_checkpoint,
            ):
                await tx.execute(statement, name)
