"""The wing of sagas: steps of commands, process managers and pipelines, and what runs them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trunkline.channels.wing import Premises
from trunkline.cqrs import saga_decisions as decisions
from trunkline.cqrs.command import Command, stored
from trunkline.cqrs.command_steps import CommandSteps
from trunkline.cqrs.pipeline import OnError, Pipeline
from trunkline.cqrs.pipeline_runner import PipelineRunner, undo_of
from trunkline.cqrs.pipeline_runs import PipelineRuns
from trunkline.cqrs.process import Process
from trunkline.cqrs.process_runner import ProcessRunner
from trunkline.cqrs.saga_errors import StepGoneError
from trunkline.cqrs.saga_runner import SagaRunner, Vigil, Workshop
from trunkline.cqrs.saga_service import Finisher, SagaService
from trunkline.cqrs.step import StepFunction, Undo, check_function
from trunkline.cqrs.step_book import StepBook
from trunkline.cqrs.undoing import Undoing, gone_error
from trunkline.errors import ConfigError, LineClosedError
from trunkline.runtime.service import Service
from trunkline.store.process_table import ProcessTable
from trunkline.store.saga_record import SagaKind, SagaRecord, SagaStatus
from trunkline.store.saga_table import SagaTable

if TYPE_CHECKING:
    from trunkline.cqrs.wing import Commands

logger = logging.getLogger("trunkline.cqrs")

#: Seconds that sagas are kept after their end.
KEEP = 7 * 86400.0


class SagaWing:
    """Be the wing of a line that runs sagas.

    Args:
        premises: What it works with.
        commands: The wing that runs commands.

    Attributes:
        book: The steps and undos that were declared.
        pipelines: Those that were declared, by name.
        processes: The process managers that were declared, by name.
    """

    def __init__(self, premises: Premises, commands: Commands) -> None:
        self._premises = premises
        self._commands = commands
        self.book = StepBook()
        self.pipelines: dict[str, Pipeline] = {}
        self.processes: dict[str, Process] = {}
        self._process_runners: list[ProcessRunner] = []
        self._opened: _Opened | None = None

    async def open(self) -> None:
        """Check what was declared against what is on record.

        Raises:
            ConfigError: There is no SQL database for sagas, or a declaration makes no sense.
        """
        database = self._premises.store.database
        if database is None:
            raise ConfigError(
                "sagas need a SQL database: use a log on SQLite or PostgreSQL, or set store="
            )
        kinds = self._kinds()
        self.book.check(kinds)
        opened = _Opened(self._premises, SagaTable(database))
        opened.undoing = Undoing(opened.shop, self.book, subject_of=self._subject_of)
        opened.steps = CommandSteps(opened.shop, self.book, opened.undoing, validate=self._validate)
        opened.pipelines = PipelineRunner(
            opened.shop,
            self._premises.bus,
            opened.undoing,
            send=self._commands.send,
            find=self.pipelines.get,
        )
        opened.runs = PipelineRuns(opened.shop, opened.pipelines)
        finishers = {
            SagaKind.COMMAND: Finisher(self._knows, self._finish),
            SagaKind.PIPELINE: Finisher(self._knows_pipeline, opened.pipelines.finish),
        }
        opened.service = SagaService(opened.shop, finishers, keep=KEEP)
        self._hear()
        self._commands.followers.declare()
        opened.processes = [one.timers() for one in self._process_runners]
        await self._check_records(opened.table)
        await self._check_processes(ProcessTable(database))
        self._opened = opened
        self._commands.steps.update({name: opened.steps for name in kinds if self.book.of(name)})
        self._premises.run("sagas", opened.shop.runner.run)

    async def close(self) -> None:
        """Let others have what is left at once."""
        opened, self._opened = self._opened, None
        if opened is not None:
            self._commands.steps.clear()
            await opened.shop.runner.close()

    def services(self) -> Sequence[Service]:
        """Return what a worker runs."""
        if self._opened is None:
            return ()
        has_sagas = self.book.has_steps or self.pipelines
        return (*([self._opened.service] if has_sagas else ()), *self._opened.processes)

    @property
    def table(self) -> SagaTable:
        """Return where sagas are kept.

        Raises:
            LineClosedError: The line is not open.
        """
        return self._now().table

    def _now(self) -> _Opened:
        if self._opened is None:
            raise LineClosedError("open the line first: sagas are kept in its store")
        return self._opened

    # -- process managers ---------------------------------------------------------------------

    def process(self, process: Process) -> Process:
        """Declare a process manager.

        Raises:
            ConfigError: There is one of its name.
        """
        if process.name in self.processes:
            raise ConfigError(f"the process {process.name!r} is declared twice")
        self.processes[process.name] = process
        return process

    def _hear(self) -> None:
        """Have process managers hear their events; once, however often the line is opened."""
        known = {one.process.name for one in self._process_runners}
        for name, process in self.processes.items():
            if name not in known:
                runner = ProcessRunner(process, self._premises, self._commands)
                runner.declare()
                self._process_runners.append(runner)

    async def _check_processes(self, table: ProcessTable) -> None:
        """Tell of instances that newer code wrote; what reaches them waits until that is back."""
        if not self.processes:
            return
        for name, version, count in await table.versions():
            process = self.processes.get(name)
            if process is not None and version > process.version:
                logger.error(
                    "%d instances of process %r have version %d, and this code knows up to %d: "
                    "deploy the newer code",
                    count,
                    name,
                    version,
                    process.version,
                )

    # -- pipelines ----------------------------------------------------------------------------

    def pipeline(self, name: str, *, on_error: OnError, version: int) -> Pipeline:
        """Declare a pipeline.

        Raises:
            ConfigError: It is declared already, or makes no sense.
        """
        if name in self.pipelines:
            raise ConfigError(f"the pipeline {name!r} is declared twice")
        made = Pipeline(name, on_error=on_error, version=version, declare_undo=self._add_undo)
        self.pipelines[name] = made
        return made

    @property
    def runs(self) -> PipelineRuns:
        """Return what begins runs of pipelines.

        Raises:
            LineClosedError: The line is not open.
        """
        return self._now().runs

    def _add_undo(self, name: str, function: StepFunction) -> None:
        check_function(f"undo {name!r}", function)
        self.book.add_undo(Undo(name=name, function=undo_of(function, self._commands.send)))

    def _knows_pipeline(self, saga: SagaRecord) -> bool:
        pipeline = self.pipelines.get(saga.name)
        return pipeline is not None and pipeline.version >= saga.version

    # -- commands -----------------------------------------------------------------------------

    def _kinds(self) -> dict[str, type[Command]]:
        found: dict[str, type[Command]] = {}
        for domain in self._commands.domains:
            for kind in domain.commands:
                found[stored(kind).name] = kind
        return found

    def _knows(self, saga: SagaRecord) -> bool:
        return saga.name in self._kinds()

    def _subject_of(self, saga: SagaRecord) -> Any:
        kind = self._kinds().get(saga.name)
        if kind is None:
            raise StepGoneError(f"no code declares the command {saga.name!r}", saga_id=saga.id)
        return stored(kind).decoder.decode(saga.body)

    def _validate(self, command: Command) -> object:
        return self._commands.plan.command(type(command)).validated(command)

    async def _finish(self, saga: SagaRecord) -> None:
        undoing = self._now().undoing
        if saga.status is SagaStatus.RUNNING:
            await undoing.take_back(saga, "its process ended before its commit")
        else:
            await undoing.run(saga)

    async def _check_records(self, table: SagaTable) -> None:
        """Tell of sagas whose steps no code declares any more; they become stuck when taken."""
        kinds = self._kinds()
        for saga in await table.unfinished():
            if saga.kind is SagaKind.COMMAND and saga.name in kinds:
                gone = decisions.gone_undo(saga, self.book.undos)
                if gone is not None:
                    logger.error("the saga %s: %s", saga.id, gone_error(saga, gone))


class _Opened:
    """Be what there is while the line is open."""

    undoing: Undoing
    steps: CommandSteps
    pipelines: PipelineRunner
    runs: PipelineRuns
    service: SagaService
    processes: Sequence[Service]

    def __init__(self, premises: Premises, table: SagaTable) -> None:
        self.table = table
        clock = premises.clock
        self.shop = Workshop(
            SagaRunner(table, clock),
            Vigil(),
            clock,
            getattr(clock, "sleep", asyncio.sleep),
            premises.run,
        )
