"""Running pipelines: one transaction after another, the progress of each committed with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec

from trunkline.channels.transaction import LineTransaction
from trunkline.channels.wing import WingedBus
from trunkline.cqrs import saga_decisions as decisions
from trunkline.cqrs.command import Command
from trunkline.cqrs.context import Origin
from trunkline.cqrs.errors import HandlerError, RefusedError
from trunkline.cqrs.pipeline import Pipeline, PipelineStep, told_by
from trunkline.cqrs.result import Result
from trunkline.cqrs.saga_decisions import Change, Finish
from trunkline.cqrs.saga_errors import StepGoneError, StepTimeoutError
from trunkline.cqrs.saga_runner import Workshop
from trunkline.cqrs.step import StepCall, call
from trunkline.cqrs.undoing import Undoing, call_of, context_of
from trunkline.errors import LeaseLostError, TrunklineError
from trunkline.store.saga_record import SagaRecord, SagaStatus

logger = logging.getLogger("trunkline.cqrs")

Send = Callable[[Command, Origin], Awaitable[Result]]


class Progress(NamedTuple):
    """Report from inside a step, on the pipeline's channel.

    Args:
        publish: Publishes.
        channel: Where.
        told: What is told with each report.
    """

    publish: Callable[[str, Any], Awaitable[Any]]
    channel: str
    told: dict[str, Any]

    async def __call__(self, index: int, total: int, name: str = "") -> None:
        """Say how far the step is.

        Args:
            index: Of *total* parts.
            total: How many there are.
            name: What was done last.
        """
        told = {**self.told, "label": self.told["step"], "index": index, "total": total}
        await self.publish(self.channel, {**told, "name": name})


class PipelineCall(StepCall, frozen=True, kw_only=True):
    """Tell a function of a pipeline about the call.

    Args:
        progress: Reports how far it is: ``await step.progress(3, 10)``.
    """

    progress: Progress


class PipelineRunner:
    """Run pipelines.

    Args:
        shop: What it is done with.
        bus: Begins transactions and publishes.
        undoing: Takes runs back.
        send: Sends commands.
        find: Returns a pipeline by name, or None.
    """

    def __init__(
        self,
        shop: Workshop,
        bus: WingedBus,
        undoing: Undoing,
        *,
        send: Send,
        find: Callable[[str], Pipeline | None],
    ) -> None:
        self._shop = shop
        self._clock = shop.clock
        self._bus = bus
        self._undoing = undoing
        self._send = send
        self._find = find

    async def finish(self, saga: SagaRecord) -> tuple[SagaRecord, Exception | None]:
        """Run what is left of a run, or take it back.

        Args:
            saga: Ours.

        Returns:
            The run as it is when nothing more can be done now, and what stopped it.

        Raises:
            LeaseLostError: Another process goes on with it, or an operator decided.
        """
        failure: Exception | None = None
        self._shop.runner.hold(saga.id)
        try:
            while saga.status is SagaStatus.RUNNING:
                saga, failed = await self._go(saga)
                failure = failed or failure
            if saga.status is SagaStatus.UNDOING:
                saga = await self._undoing.run(saga)
                if saga.status is not SagaStatus.UNDOING:
                    await self._bus.publish(channel_of(saga), self._told(saga, str(saga.status)))
        finally:
            self._shop.runner.release(saga.id)
        return saga, failure

    async def begin(self, saga: SagaRecord) -> bool:
        """Put a run on record; tell whether its key was free."""
        async with self._bus.transaction() as tx:
            if saga.owner:
                await self._shop.runner.beat(tx)
            if not await self._shop.table.begin(tx, saga):
                return False
            await tx.publish(channel_of(saga), self._told(saga, "progress", index=0))
        return True

    # -- a step -------------------------------------------------------------------------------

    async def _go(self, saga: SagaRecord) -> tuple[SagaRecord, Exception | None]:
        pipeline = self._find(saga.name)
        gone = self._gone(saga, pipeline)
        if gone is not None or pipeline is None:
            error = gone or StepGoneError(f"no code declares the pipeline {saga.name!r}")
            return await self._undoing.be_stuck(saga, error), error
        action = decisions.next_forward(saga, [one.name for one in pipeline.steps])
        if isinstance(action, Finish):
            ended = decisions.settle(saga, action.status, now=self._clock.now())
            told = self._told(saga, "complete", index=len(pipeline.steps))
            return await self._write(saga, ended, told), None
        step = pipeline.find(action.name)
        assert step is not None  # noqa: S101 - the name came from there
        try:
            return await self._step(saga, step, pipeline), None
        except LeaseLostError:
            raise
        except Exception as error:  # noqa: BLE001 - on record, and told
            return await self._fail(saga.id, step, error)

    def _gone(self, saga: SagaRecord, pipeline: Pipeline | None) -> StepGoneError | None:
        names = {one.name for one in pipeline.steps} if pipeline else set()
        for step in saga.steps:
            if step.name not in names:
                return StepGoneError(
                    f"no code declares step {step.name!r} of pipeline {saga.name!r}: declare it "
                    "again and retry the run, or abandon it",
                    saga_id=saga.id,
                )
        return None

    async def _step(self, saga: SagaRecord, step: PipelineStep, pipeline: Pipeline) -> SagaRecord:
        body = msgspec.json.decode(saga.body)
        if step.if_ is not None and not step.if_(body):
            skipped = decisions.skip_step(saga, step.name, now=self._clock.now())
            return await self._write(saga, skipped, self._told(saga, "skipped", step=step.name))
        given = step.input_of(body)
        begun = decisions.begin_step(
            saga,
            step.name,
            undo=pipeline.undo_name(step.name) if step.undo else "",
            undo_data=_json(given) if step.undo else None,
            now=self._clock.now(),
        )
        saga = await self._undoing.write(saga, begun)
        if step.takes_tx:
            async with self._bus.transaction() as tx:
                found = await self._limited(step, saga, self._function(step, given, saga, tx))
                change, told = self._ended(saga, step, body, found)
                await self._shop.table.move(tx, saga, change.saga, change.steps)
                await tx.publish(channel_of(saga), told)
            return change.saga
        work = self._function(step, given, saga) if step.command is None else None
        work = work or self._commands(step, given, saga)
        found = await self._limited(step, saga, work)
        change, told = self._ended(saga, step, body, found)
        return await self._write(saga, change, told)

    async def _limited(self, step: PipelineStep, saga: SagaRecord, work: Awaitable[Any]) -> Any:
        limit = asyncio.timeout(step.timeout)
        try:
            async with limit:
                return await work
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise StepTimeoutError(
                f"step {step.name!r} of pipeline {saga.name!r} took more than {step.timeout} s",
                saga_id=saga.id,
            ) from error

    async def _function(
        self,
        step: PipelineStep,
        given: Any,
        saga: SagaRecord,
        tx: LineTransaction | None = None,
    ) -> Any:
        record = saga.step(step.name)
        assert record is not None  # noqa: S101 - it was begun just now
        told = call_of(saga, record, key=f"{saga.id}:{step.name}")
        # Inside its transaction a step's reports become known with it.
        publish = self._bus.publish if tx is None else tx.publish
        progress = Progress(
            publish, channel_of(saga), self._told(saga, "subprogress", step=step.name)
        )
        fields = msgspec.structs.asdict(told)
        supplies = {"step": PipelineCall(**fields, progress=progress), "key": told.key, "tx": tx}
        return await call(step.target, given, supplies)

    async def _commands(self, step: PipelineStep, given: Any, saga: SagaRecord) -> Any:
        found = []
        commands = step.commands_of(given)
        for number, command in enumerate(commands):
            key = f"pipeline:{saga.id}:{step.name}:{number}"
            result = await self._send(command, origin_of(saga, key))
            await self._tell_parts(saga, step, result)
            found.append(result)
        return found if isinstance(given, (list, tuple)) else found[0]

    async def _tell_parts(self, saga: SagaRecord, step: PipelineStep, result: Result) -> None:
        """Tell what hooks and handlers of a command did, once it is committed."""
        spans = () if result.context is None else result.context.spans
        for index, span in enumerate(spans, 1):
            told = self._told(saga, "subprogress", step=step.name)
            told.update(
                label=f"{result.name}::{span[0]}", index=index, total=len(spans), name=span[1]
            )
            await self._bus.publish(channel_of(saga), told)

    def _ended(
        self, saga: SagaRecord, step: PipelineStep, body: Any, found: Any
    ) -> tuple[Change, dict[str, Any]]:
        if step.after is not None:
            found = step.after(found, body)
        result = msgspec.to_builtins(_told(found))
        after = step.body_after(body, result)
        change = decisions.end_step(
            saga, step.name, output=_json(result), body=_json(after), now=self._clock.now()
        )
        pipeline = self._find(saga.name)
        names = [one.name for one in pipeline.steps] if pipeline else []
        index = names.index(step.name) + 1
        return change, self._told(saga, "progress", step=step.name, index=index)

    # -- when a step fails --------------------------------------------------------------------

    async def _fail(
        self, saga_id: str, step: PipelineStep, error: Exception
    ) -> tuple[SagaRecord, Exception | None]:
        logger.warning("step %r of the pipeline run %s failed: %s", step.name, saga_id, error)
        saga = await self._shop.table.find(saga_id)
        if saga is None or saga.owner != self._shop.runner.id:
            raise LeaseLostError(f"another process has taken over the saga {saga_id!r}")
        now, told = self._clock.now(), f"{type(error).__name__}: {error}"
        if saga.step(step.name) is None:  # it failed before it was called
            saga = await self._undoing.write(
                saga,
                decisions.begin_step(saga, step.name, undo="", undo_data=None, now=now),
            )
        is_refusal = isinstance(error, RefusedError)
        record = saga.step(step.name)
        tries = 1 if record is None else record.attempts
        delay = None if is_refusal else step.retry.delay(tries, error)
        is_undone = is_refusal or step.takes_tx
        change = decisions.fail_step(saga, step.name, error=told, is_refusal=is_undone, now=now)
        if delay is not None:
            saga = await self._undoing.write(saga, change)
            await self._shop.sleep(delay)
            return saga, None
        return await self._give_up(saga, change, step), _named(step, saga, error)

    async def _give_up(self, saga: SagaRecord, change: Change, step: PipelineStep) -> SagaRecord:
        now, failed = self._clock.now(), change.steps[0]
        told = self._told(saga, "failure", step=step.name, error=failed.error)
        if step.on_error == "continue":
            skipped = msgspec.structs.replace(
                decisions.skip_step(change.saga, step.name, now=now).steps[0], error=failed.error
            )
            left = decisions.skip_step(change.saga, step.name, now=now)
            told = {**told, "event": "skipped"}
            return await self._write(saga, Change(left.saga, (skipped,)), told)
        reason = f"{step.name}: {failed.error}"
        if step.on_error == "compensate":
            turned = decisions.turn_round(change.saga, error=reason, now=now)
        else:
            turned = decisions.settle(change.saga, SagaStatus.STOPPED, error=reason, now=now)
        return await self._write(saga, Change(turned.saga, change.steps), told)

    # -- writing ------------------------------------------------------------------------------

    async def _write(self, saga: SagaRecord, change: Change, told: dict[str, Any]) -> SagaRecord:
        async with self._bus.transaction() as tx:
            await self._shop.table.move(tx, saga, change.saga, change.steps)
            await tx.publish(channel_of(saga), told)
        return change.saga

    def _told(self, saga: SagaRecord, event: str, **more: Any) -> dict[str, Any]:
        pipeline = self._find(saga.name)
        total = len(pipeline.steps) if pipeline else len(saga.steps)
        told = {"event": event, "pipeline": saga.name, "run": saga.id, "total": total}
        return {**told, **more}


def channel_of(saga: SagaRecord) -> str:
    """Return the channel on which a run's progress is told."""
    return f"/pipelines/{saga.name}/{saga.id}"


def origin_of(saga: SagaRecord, key: str) -> Origin:
    """Return where the commands of a run come from."""
    context = context_of(saga)
    return Origin(
        key=key,
        actor=context.get("actor"),
        site_id=context.get("site_id"),
        correlation=context.get("correlation") or saga.id,
        causation=saga.id,
    )


def undo_of(function: Callable[..., Any], send: Send) -> Callable[..., Awaitable[None]]:
    """Return an undo that also sends the commands that an application's function returns."""

    async def undo(data: Any, step: StepCall) -> None:
        found = await call(function, data, {"step": step, "key": step.key})
        many = found if isinstance(found, (list, tuple)) else [found]
        for number, command in enumerate(many):
            if isinstance(command, Command):
                await send(
                    command,
                    Origin(
                        key=f"{step.key}:{number}",
                        actor=step.actor,
                        correlation=step.correlation_id or None,
                    ),
                )

    return undo


def _told(found: Any) -> Any:
    if isinstance(found, Result):
        return told_by(found)
    if isinstance(found, (list, tuple)):
        return [_told(one) for one in found]
    return found


def _named(step: PipelineStep, saga: SagaRecord, error: Exception) -> Exception:
    if isinstance(error, TrunklineError):
        return error
    named = HandlerError("step", step.name, saga.name, error)
    named.__cause__ = error
    return named


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
