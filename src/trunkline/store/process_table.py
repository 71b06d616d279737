"""Process managers as the store keeps them: instances by what they correlate, and their timers."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from trunkline.sql.database import Database
from trunkline.store.consumer_table import Session
from trunkline.store.saga_statements import saga_statements


class ProcessStatus(StrEnum):
    """Say where an instance stands."""

    ACTIVE = "active"
    ENDED = "ended"
    #: It cannot go on by itself; its error says why.
    STUCK = "stuck"
    #: An operator ended it as it was.
    ABANDONED = "abandoned"


class ProcessRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Be one instance of a process manager.

    Args:
        name: The process manager.
        correlation: What its events have in common.
        version: Of the state.
        status: Where it stands.
        state: JSON.
        error: Why it is stuck.
        begun_at: Unix seconds.
        moved_at: Unix seconds.
    """

    name: str
    correlation: str
    version: int
    status: ProcessStatus = ProcessStatus.ACTIVE
    state: str
    error: str = ""
    begun_at: float
    moved_at: float


class TimerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Be a timer of an instance.

    Args:
        correlation: Whose.
        name: Its name; another one set under it takes its place.
        due_at: Unix seconds.
        data: JSON that the handler gets.
        serial: Tells it from another one of its name.
        attempts: How often its handler failed.
    """

    correlation: str
    name: str
    due_at: float
    data: str
    serial: str
    attempts: int = 0


class ProcessTable:
    """Read and write what is kept of process managers.

    Args:
        database: Where, its tables in place.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._sql = saga_statements(database.dialect, database.schema)

    async def find(self, tx: Session, name: str, correlation: str) -> ProcessRecord | None:
        """Return an instance, and keep others from changing it until the transaction ends."""
        rows = await tx.fetch(self._sql.process, name, correlation)
        return _process(rows[0]) if rows else None

    async def save(self, tx: Session, record: ProcessRecord) -> None:
        """Write an instance."""
        await tx.execute(self._sql.save_process, *msgspec.structs.astuple(record))

    async def list(
        self, name: str = "", status: ProcessStatus | None = None, limit: int = 100
    ) -> list[ProcessRecord]:
        """Return instances, the last moved first."""
        wanted = str(status or "")
        given = (name, name, wanted, wanted, limit)
        return [_process(row) for row in await self.database.fetch(self._sql.processes, *given)]

    async def versions(self) -> Sequence[tuple[str, int, int]]:
        """Return name, version and count of the instances that are active."""
        rows = await self.database.fetch(self._sql.versions)
        return [(row[0], row[1], row[2]) for row in rows]

    # -- timers -------------------------------------------------------------------------------

    async def set_timer(self, tx: Session, name: str, timer: TimerRecord) -> None:
        """Set a timer, in place of one of its name."""
        await tx.execute(self._sql.set_timer, name, *msgspec.structs.astuple(timer))

    async def drop_timer(self, tx: Session, name: str, correlation: str, timer: str) -> None:
        """Have a timer not go off."""
        await tx.execute(self._sql.drop_timer, name, correlation, timer)

    async def drop_timers(self, tx: Session, name: str, correlation: str) -> None:
        """Have no timer of an instance go off."""
        await tx.execute(self._sql.drop_timers, name, correlation)

    async def take_timer(self, tx: Session, name: str, timer: TimerRecord) -> bool:
        """Remove a timer that goes off; tell whether it was still the one that was seen."""
        given = (name, timer.correlation, timer.name, timer.serial)
        return bool(await tx.execute(self._sql.take_timer, *given))

    async def due_timers(self, name: str, now: float, limit: int) -> Sequence[TimerRecord]:
        """Return the timers that are due, first ones first."""
        rows = await self.database.fetch(self._sql.due_timers, name, now, limit)
        return [TimerRecord(**dict(zip(_TIMER, row, strict=True))) for row in rows]

    async def timers(self, name: str, correlation: str) -> Sequence[TimerRecord]:
        """Return the timers of an instance."""
        rows = await self.database.fetch(self._sql.timers, name, correlation)
        return [TimerRecord(**dict(zip(_TIMER, row, strict=True))) for row in rows]


_TIMER: Sequence[str] = TimerRecord.__struct_fields__
_PROCESS: Sequence[str] = ProcessRecord.__struct_fields__


def _process(row: Sequence[object]) -> ProcessRecord:
    values = dict(zip(_PROCESS, row, strict=True))
    return ProcessRecord(**{**values, "status": ProcessStatus(str(values["status"]))})  # type: ignore[arg-type]
