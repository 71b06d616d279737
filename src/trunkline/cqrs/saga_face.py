"""The line as those see it who declare saga steps, process managers and pipelines."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from trunkline.channels.wing import WingedBus

if TYPE_CHECKING:  # a wing is imported when it is asked for: scripts need none
    from trunkline.cqrs.pipeline import OnError, Pipeline, PipelineResult
    from trunkline.cqrs.process import Process
    from trunkline.cqrs.process_runner import Processes
    from trunkline.cqrs.saga_wing import SagaWing
    from trunkline.cqrs.sagas import Sagas
    from trunkline.cqrs.step import StepOptions, StepRetry
    from trunkline.cqrs.wing import Commands

F = TypeVar("F", bound=Callable[..., Any])


class SagaFace(WingedBus):
    """Declare steps of commands, process managers and pipelines, and look after them."""

    if TYPE_CHECKING:

        @property
        def commands(self) -> Commands:
            """Return the wing that runs commands."""

    @cached_property
    def _sagas(self) -> SagaWing:
        from trunkline.cqrs.saga_wing import SagaWing

        commands = self.commands
        return self.add_wing(lambda premises: SagaWing(premises, commands))

    def step(self, subject: str | type, **options: Unpack[StepOptions]) -> Callable[[F], F]:
        """Declare a step of commands: a call to others before the command is decided.

        It takes the command and, as it wishes, ``step`` (a :class:`StepCall`) or ``key``. It
        returns None, a JSON value for those after it, or a changed command. Raise
        :class:`Refused` when nothing happened; after any other error the step is taken back
        too, for its answer may only have been lost.

        Args:
            subject: The command's type or name, or a pattern.
            **options: See :class:`StepOptions`.

        Raises:
            ConfigError: Something makes no sense.
        """
        from trunkline.cqrs.step_declaring import declare_step

        book = self._sagas.book

        def register(function: F) -> F:
            declare_step(book, subject, function, options)
            return function

        return register

    def undo(
        self,
        name: str,
        *,
        retry: StepRetry | int | None = None,
        timeout: float | None = 60.0,
    ) -> Callable[[F], F]:
        """Declare what takes a step back; it must bear that the step never took effect.

        It takes the command, or what ``undo_data`` made of it, and as it wishes ``step`` or
        ``key``. Its name is on record: keep it for as long as sagas may need it.

        Args:
            name: Names it.
            retry: How it is tried again; for about a quarter of an hour if not given.
            timeout: Seconds for one try, or None.

        Raises:
            ConfigError: Another undo has the name, or the function doesn't fit.
        """
        from trunkline.cqrs.step_declaring import declare_undo

        book = self._sagas.book

        def register(function: F) -> F:
            declare_undo(book, name, function, retry=retry, timeout=timeout)
            return function

        return register

    @property
    def sagas(self) -> Sagas:
        """Return what looks after the sagas of commands: list, show, retry, skip, abandon."""
        return self._looking_after("command")

    def process(
        self,
        name: str,
        state: type,
        *,
        correlate: str | Callable[[Any], Any],
        version: int = 1,
        deadline: float | None = None,
    ) -> Process:
        """Declare a process manager: begun, carried on and ended by events, with timers.

        Args:
            name: Under which its instances are kept.
            state: The type of their state, a msgspec struct.
            correlate: What its events have in common: the name of a pattern's parameter or of a
                field, or a function of the event.
            version: Of the state; ``@process.migrate(1)`` brings older ones up.
            deadline: Seconds after which ``@process.timer("deadline")`` is called.

        Returns:
            The process manager; say ``@process.starts(…)``, ``on``, ``ends`` and ``timer``.

        Raises:
            ConfigError: There is one of this name, or something makes no sense.
        """
        from trunkline.cqrs.process import Process

        made = Process(name, state, correlate=correlate, version=version, deadline=deadline)
        return self._sagas.process(made)

    @property
    def processes(self) -> Processes:
        """Return what looks after instances of process managers: list, show, retry, abandon."""
        from trunkline.cqrs.process_runner import Processes

        _ = self._sagas
        return Processes(self._premises)

    def pipeline(self, name: str, *, on_error: OnError = "stop", version: int = 1) -> Pipeline:
        """Declare a pipeline: a sequence of steps, each a transaction of its own.

        Args:
            name: Under which its runs are on record.
            on_error: What an error in a step does: ``stop`` keeps what is done until an
                operator decides, ``compensate`` undoes it, ``continue`` goes on without it.
            version: Raise it when older code could not go on with newer runs.

        Returns:
            The pipeline; add steps with ``@pipeline.step(name)``.

        Raises:
            ConfigError: There is one of this name, or something makes no sense.
        """
        return self._sagas.pipeline(name, on_error=on_error, version=version)

    async def run(
        self,
        pipeline: Pipeline,
        given: Any = None,
        *,
        key: str | None = None,
        actor: str | int | None = None,
        wait: bool = True,
    ) -> PipelineResult:
        """Run a pipeline; what is begun is finished, by a worker if this process dies.

        Its progress is told on the channel ``/pipelines/<name>/<run>``.

        Args:
            pipeline: Which.
            given: The body it begins with: any JSON value, often a dictionary.
            key: The same key again finds the same run, and its outcome once it is done.
            actor: On whose behalf; its commands carry it.
            wait: Whether to run it here and wait for its end; otherwise a worker runs it.

        Returns:
            What it came to.

        Raises:
            PipelineError: It stopped, or was undone.
            SagaBusyError: Another process runs it.
            LogError: The database failed.
        """
        from trunkline.cqrs.pipeline_runs import RunOrigin

        wing = self._sagas
        await self.be_ready()
        site = self._site()
        if key is not None and site is not None:
            key = f"{site}/{key}"  # a tenant's keys are its own
        if key is not None:
            known = await wing.runs.known(pipeline, key)
            if known is not None:
                return known
        origin = RunOrigin(key, actor, site)
        return await wing.runs.run(pipeline, given, origin, wait=wait)

    @property
    def pipelines(self) -> Sagas:
        """Return what looks after runs of pipelines: list, show, retry, skip, abandon."""
        return self._looking_after("pipeline")

    def _looking_after(self, kind: str) -> Sagas:
        from trunkline.cqrs.sagas import Sagas
        from trunkline.store.saga_record import SagaKind

        wing = self._sagas
        return Sagas(
            SagaKind(kind),
            lambda: wing.table,
            ready=self.be_ready,
            clock=self._premises.clock,
        )
