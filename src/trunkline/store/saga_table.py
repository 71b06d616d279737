"""Sagas as the store keeps them: every write fenced by the epoch under which they are owned."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from trunkline.errors import LeaseLostError
from trunkline.sql.database import Database, Row
from trunkline.store.consumer_table import Session
from trunkline.store.saga_record import (
    Heading,
    SagaKind,
    SagaRecord,
    SagaStatus,
    StepRecord,
    StepStatus,
)
from trunkline.store.saga_statements import saga_statements


class RunnerBeat(NamedTuple):
    """Be a sign of life of somebody who runs sagas.

    Args:
        id: Who.
        beat: Raised while it lives.
        host: Where: host name and process id.
    """

    id: str
    beat: int
    host: str


class SagaTable:
    """Read and write what is kept of sagas.

    Args:
        database: Where, its tables in place.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._sql = saga_statements(database.dialect, database.schema)

    # -- runners ------------------------------------------------------------------------------

    async def enlist(self, runner: str) -> None:
        """Note somebody who runs sagas."""
        host = f"{socket.gethostname()}:{os.getpid()}"
        async with self.database.transaction() as tx:
            await tx.execute(self._sql.enlist, runner, host)

    async def beat(self, tx: Session, runner: str) -> bool:
        """Show that a runner lives; tell whether it is still listed."""
        return bool(await tx.execute(self._sql.beat, runner))

    async def discharge(self, runner: str) -> None:
        """Forget a runner: what it owns is anybody's at once."""
        async with self.database.transaction() as tx:
            await tx.execute(self._sql.discharge, runner)

    async def bury(self, runner: str) -> None:
        """Forget a dead runner once it owns nothing."""
        async with self.database.transaction() as tx:
            await tx.execute(self._sql.bury, runner, runner)

    async def beats(self) -> list[RunnerBeat]:
        """Return all runners' signs of life."""
        return [RunnerBeat(*row) for row in await self.database.fetch(self._sql.beats)]

    # -- reading ------------------------------------------------------------------------------

    async def find(self, saga: str) -> SagaRecord | None:
        """Return a saga with its steps, or None."""
        rows = await self.database.fetch(self._sql.find, saga)
        return await self._whole(rows[0]) if rows else None

    async def find_key(self, kind: SagaKind, name: str, key: str) -> SagaRecord | None:
        """Return the newest saga of a key, or None."""
        rows = await self.database.fetch(self._sql.find_key, kind, name, key)
        return await self._whole(rows[0]) if rows else None

    async def waiting(self, now: float, limit: int) -> list[SagaRecord]:
        """Return sagas that somebody should work on, without their steps."""
        return [_saga(row) for row in await self.database.fetch(self._sql.waiting, now, limit)]

    async def unfinished(self, limit: int = 1000) -> list[SagaRecord]:
        """Return the open sagas with their steps, oldest first."""
        rows = await self.database.fetch(self._sql.unfinished, limit)
        return [await self._whole(row) for row in rows]

    async def list(
        self, kind: SagaKind, status: SagaStatus | None = None, limit: int = 100
    ) -> list[SagaRecord]:
        """Return sagas, newest first, with their steps."""
        wanted = str(status or "")
        rows = await self.database.fetch(self._sql.list_some, kind, wanted, wanted, limit)
        return [await self._whole(row) for row in rows]

    async def _whole(self, row: Row) -> SagaRecord:
        saga = _saga(row)
        rows = await self.database.fetch(self._sql.steps, saga.id)
        return _saga(row, tuple(map(_step, rows)))

    # -- writing ------------------------------------------------------------------------------

    async def begin(self, tx: Session, saga: SagaRecord) -> bool:
        """Put a saga on record, its steps too; tell whether its key was free."""
        values = [getattr(saga, field) for field in _SAGA_FIELDS]
        if not await tx.execute(self._sql.begin, *values):
            return False
        await self.note(tx, saga.id, saga.steps)
        return True

    async def move(
        self, tx: Session, old: SagaRecord, new: SagaRecord, steps: Iterable[StepRecord] = ()
    ) -> None:
        """Write what changed of a saga, if it is as it was and its owner's still.

        Args:
            tx: The transaction; the saga's row stays locked until its end.
            old: As it was.
            new: As it is from now on.
            steps: Those that changed.

        Raises:
            LeaseLostError: Somebody else has taken over, or it has moved on.
        """
        changed = (
            new.status,
            new.heading,
            new.body,
            new.error,
            new.owner,
            new.due_at,
            new.moved_at,
        )
        if not await tx.execute(self._sql.move, *changed, old.id, old.epoch, old.status):
            raise LeaseLostError(f"another process has taken over the saga {old.id!r}")
        await self.note(tx, new.id, steps)

    async def note(self, tx: Session, saga: str, steps: Iterable[StepRecord]) -> None:
        """Write steps; a caller has moved the saga in the same transaction."""
        for step in steps:
            values = [getattr(step, field) for field in _STEP_FIELDS]
            await tx.execute(self._sql.note_step, saga, *values)

    async def take(self, saga: SagaRecord, owner: str) -> SagaRecord | None:
        """Become the owner of a saga; None when somebody was quicker."""
        async with self.database.transaction() as tx:
            if not await tx.execute(self._sql.take, owner, saga.id, saga.epoch, saga.status):
                return None
            await self.beat(tx, owner)
        found = await self.find(saga.id)
        return found if found is not None and found.owner == owner else None

    async def let_go(self, saga: SagaRecord, *, due_at: float) -> None:
        """Own a saga no more, whatever became of it meanwhile; others wait until a time."""
        async with self.database.transaction() as tx:
            await tx.execute(self._sql.let_go, due_at, saga.id, saga.epoch)

    async def decide(self, old: SagaRecord, new: SagaRecord) -> bool:
        """Write an operator's decision; whoever works on the saga is deposed.

        Returns:
            Whether it was still as it had been seen.
        """
        changed = (new.status, new.heading, new.error, new.due_at, new.moved_at)
        async with self.database.transaction() as tx:
            if not await tx.execute(self._sql.decide, *changed, old.id, old.epoch, old.status):
                return False
            await self.note(tx, new.id, new.steps)
        return True

    async def forget(self, before: float) -> int:
        """Remove sagas that ended before a time; return how many."""
        async with self.database.transaction() as tx:
            await tx.execute(self._sql.forget_steps, before)
            return await tx.execute(self._sql.forget, before)


_SAGA_FIELDS: Sequence[str] = SagaRecord.__struct_fields__[:-1]
_STEP_FIELDS: Sequence[str] = StepRecord.__struct_fields__


def _saga(row: Row, steps: tuple[StepRecord, ...] = ()) -> SagaRecord:
    values: dict[str, Any] = dict(zip(_SAGA_FIELDS, row, strict=True))
    values["kind"], values["status"] = SagaKind(values["kind"]), SagaStatus(values["status"])
    values["heading"] = Heading(values["heading"])
    return SagaRecord(**values, steps=steps)


def _step(row: Row) -> StepRecord:
    values: dict[str, Any] = dict(zip(_STEP_FIELDS, row, strict=True))
    values["status"] = StepStatus(values["status"])
    return StepRecord(**values)
