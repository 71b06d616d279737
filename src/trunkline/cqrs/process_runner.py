"""Process managers at work: events and timers move instances, each in one transaction."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from trunkline.channels.transaction import LineTransaction
from trunkline.channels.wing import Premises
from trunkline.cqrs.command import Event, Recorded
from trunkline.cqrs.context import Origin, new_id
from trunkline.cqrs.handler import EVENTUAL, Role
from trunkline.cqrs.process import DEADLINE, Move, Process
from trunkline.cqrs.saga_errors import SagaStuckError
from trunkline.errors import LineClosedError
from trunkline.runtime.clock import jitter
from trunkline.store.process_table import (
    ProcessRecord,
    ProcessStatus,
    ProcessTable,
    TimerRecord,
)

if TYPE_CHECKING:
    from trunkline.cqrs.wing import Commands

logger = logging.getLogger("trunkline.cqrs")

#: Seconds between two looks for timers that are due.
LOOK: Final = 0.25
#: Timers handled in one go.
PAGE: Final = 100
#: How often a timer's reaction is tried before its instance is stuck.
ATTEMPTS: Final = 8
#: Seconds before the second try, and at most.
FIRST, LIMIT = 1.0, 300.0
_NEVER: Final = 1e15
_OVER: Final = frozenset({ProcessStatus.ENDED, ProcessStatus.ABANDONED})


class ProcessRunner:
    """Move the instances of one process manager.

    Args:
        process: Which.
        premises: What it works with.
        commands: Takes the commands that it sends.
    """

    def __init__(self, process: Process, premises: Premises, commands: Commands) -> None:
        self.process = process
        self._premises = premises
        self._clock = premises.clock
        self._commands = commands

    def timers(self) -> TimerService:
        """Return what has its timers go off, for one opening of the line."""
        return TimerService(self)

    def declare(self) -> None:
        """Have its events heard, exactly once each, in order."""
        process = self.process
        process.check()
        self._commands.main.event(*process.kinds)

        async def handle(event: Event, tx: LineTransaction, recorded: Recorded[Any]) -> None:
            del event  # recorded has it too
            await self.hear(recorded, tx)

        register = self._commands.main.register(
            Role.PROCESSOR,
            tuple(process.patterns),
            {"consistency": EVENTUAL, "name": f"process-{process.name}", "domains": "*"},
        )
        register(handle)

    @property
    def table(self) -> ProcessTable:
        """Return where instances are kept.

        Raises:
            LineClosedError: The line is not open.
        """
        database = self._premises.store.database
        if database is None:
            raise LineClosedError("open the line first: process managers are kept in its store")
        return ProcessTable(database)

    # -- events -------------------------------------------------------------------------------

    async def hear(self, recorded: Recorded[Any], tx: LineTransaction) -> None:
        """Move an instance by an event, in the transaction of the event's checkpoint.

        Raises:
            SagaStuckError: The instance waits for an operator.
            StepGoneError: Its state can't be read.
        """
        process = self.process
        found = process.reaction_to(recorded)
        if found is None:
            return
        reaction, correlation = found
        record = await self.table.find(tx, process.name, correlation)
        if record is not None and record.status in _OVER:
            record = None
        if reaction.begins == (record is not None):
            return  # begun already, or never begun
        header = recorded.headers
        move = Move(correlation, self._clock.now())
        if reaction.begins:
            state = await _answer(reaction.function, recorded.event, move)
            if process.deadline_after is not None:
                move.timers.setdefault(DEADLINE, (process.deadline_after, None))
        elif record is None:
            return
        else:
            _check_active(record)
            before = process.state_of(record)
            state = await _answer(reaction.function, recorded.event, before, move)
        origin = Origin(
            key=f"process:{process.name}:{correlation}:{header.id}",
            actor=header.actor,
            correlation=header.correlation,
            causation=header.id,
        )
        await self._keep(tx, process.after(record, move, state, ends=reaction.ends), move, origin)

    async def _keep(
        self, tx: LineTransaction, record: ProcessRecord, move: Move, origin: Origin
    ) -> None:
        table, name = self.table, self.process.name
        await table.save(tx, record)
        if record.status is ProcessStatus.ENDED:
            await table.drop_timers(tx, name, move.correlation)
        else:
            for timer, wanted in move.timers.items():
                if wanted is None:
                    await table.drop_timer(tx, name, move.correlation, timer)
                    continue
                seconds, data = wanted
                await table.set_timer(tx, name, self._timer(move, timer, seconds, data))
        for number, command in enumerate(move.commands):
            key = f"{origin.key}:{number}"
            await self._commands.enqueue(command, origin._replace(key=key), tx=tx)

    def _timer(self, move: Move, name: str, seconds: float, data: Any) -> TimerRecord:
        return TimerRecord(
            correlation=move.correlation,
            name=name,
            due_at=move.now + seconds,
            data=msgspec.json.encode(data).decode(),
            serial=new_id(move.now),
        )

    # -- timers -------------------------------------------------------------------------------

    async def go_off(self) -> int:
        """Have the timers go off that are due, and return how many did."""
        found = await self.table.due_timers(self.process.name, self._clock.now(), PAGE)
        count = 0
        for timer in found:
            try:
                count += await self._go_off(timer)
            except Exception as error:  # noqa: BLE001 - it is tried again, and told
                await self._fail(timer, error)
        return count

    async def _go_off(self, timer: TimerRecord) -> bool:
        process = self.process
        async with self._premises.bus.transaction() as tx:
            record = await self.table.find(tx, process.name, timer.correlation)
            if not await self.table.take_timer(tx, process.name, timer):
                return False
            if record is None or record.status is not ProcessStatus.ACTIVE:
                return False
            function = process.timers.get(timer.name)
            if function is None:
                raise SagaStuckError(
                    f"process {process.name!r} has no timer {timer.name!r} any more: declare it "
                    "again and retry the instance",
                    saga_id=timer.correlation,
                )
            data = msgspec.json.decode(timer.data)
            move = Move(timer.correlation, self._clock.now(), data)
            state = await _answer(function, process.state_of(record), move)
            origin = Origin(key=f"process:{process.name}:{timer.correlation}:{timer.serial}")
            await self._keep(tx, process.after(record, move, state, ends=False), move, origin)
        return True

    async def _fail(self, timer: TimerRecord, error: Exception) -> None:
        process, attempts = self.process, timer.attempts + 1
        told = f"timer {timer.name!r}: {type(error).__name__}: {error}"
        is_stuck = attempts >= ATTEMPTS or isinstance(error, SagaStuckError)
        delay = _NEVER if is_stuck else jitter(min(LIMIT, FIRST * 2.0 ** (attempts - 1)))
        level = logging.ERROR if is_stuck else logging.WARNING
        logger.log(
            level, "process %r %r: %s", process.name, timer.correlation, told, exc_info=error
        )
        due = _NEVER if is_stuck else self._clock.now() + delay
        later = msgspec.structs.replace(timer, attempts=attempts, due_at=due)
        async with self._premises.bus.transaction() as tx:
            record = await self.table.find(tx, process.name, timer.correlation)
            if not await self.table.take_timer(tx, process.name, timer) or record is None:
                return
            await self.table.set_timer(tx, process.name, later)
            if is_stuck:
                stuck = msgspec.structs.replace(record, status=ProcessStatus.STUCK, error=told)
                await self.table.save(tx, stuck)


class TimerService:
    """Have the timers of a process manager go off; in any number of processes.

    Args:
        runner: Runs it.
    """

    def __init__(self, runner: ProcessRunner) -> None:
        self.name = f"process:{runner.process.name}"
        self._runner = runner
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Have :meth:`run` finish what is in hand and return."""
        self._stopped.set()

    async def run(self) -> None:
        """Look for timers that are due, until stopped."""
        while not self._stopped.is_set():
            if not await self._runner.go_off():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopped.wait(), LOOK)


class Processes:
    """Look after the instances of process managers.

    Args:
        premises: What it works with.
    """

    def __init__(self, premises: Premises) -> None:
        self._premises = premises

    async def list(self, name: str = "", status: str | None = None) -> Sequence[ProcessRecord]:
        """Return instances, the last moved first.

        Args:
            name: Only of this process manager.
            status: Only ``active``, ``ended``, ``stuck`` or ``abandoned`` ones.
        """
        table = await self._table()
        return await table.list(name, None if status is None else ProcessStatus(status))

    async def show(self, name: str, correlation: str) -> ProcessRecord | None:
        """Return an instance, or None."""
        table = await self._table()
        async with self._premises.bus.transaction() as tx:
            return await table.find(tx, name, correlation)

    async def retry(self, name: str, correlation: str) -> None:
        """Have a stuck instance go on: its timers that failed go off at once."""
        await self._decide(name, correlation, ProcessStatus.ACTIVE)

    async def abandon(self, name: str, correlation: str) -> None:
        """End an instance as it is; its timers don't go off any more."""
        await self._decide(name, correlation, ProcessStatus.ABANDONED)

    async def _decide(self, name: str, correlation: str, status: ProcessStatus) -> None:
        table, now = await self._table(), self._premises.clock.now()
        timers = await table.timers(name, correlation)
        async with self._premises.bus.transaction() as tx:
            record = await table.find(tx, name, correlation)
            if record is None:
                raise SagaStuckError(f"no process {name!r} {correlation!r} is on record")
            await table.save(tx, msgspec.structs.replace(record, status=status, moved_at=now))
            if status is ProcessStatus.ABANDONED:
                await table.drop_timers(tx, name, correlation)
            else:
                for timer in timers:
                    if timer.attempts:
                        again = msgspec.structs.replace(timer, attempts=0, due_at=now)
                        await table.set_timer(tx, name, again)

    async def _table(self) -> ProcessTable:
        await self._premises.bus.be_ready()
        database = self._premises.store.database
        if database is None:
            raise LineClosedError("process managers are kept in a SQL database")
        return ProcessTable(database)


def _check_active(record: ProcessRecord) -> None:
    if record.status is not ProcessStatus.ACTIVE:
        raise SagaStuckError(
            f"process {record.name!r} {record.correlation!r} is {record.status}: {record.error}",
            saga_id=record.correlation,
        )


async def _answer(function: Any, *given: Any) -> Any:
    found = function(*given)
    return await found if inspect.isawaitable(found) else found
