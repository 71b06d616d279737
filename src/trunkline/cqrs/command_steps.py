"""The steps of commands: what the loop runs before its transaction, and takes back after failures.

Before a step is called, its undo is committed; after it, its outcome. No transaction is open
during the call. The saga ends inside the command's own transaction, so that it is done if and
only if that is committed; whoever finds it otherwise takes it back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import msgspec

from trunkline.cqrs import saga_decisions as decisions
from trunkline.cqrs.command import Command, stored
from trunkline.cqrs.context import Context, new_id
from trunkline.cqrs.errors import HandlerError, RefusedError
from trunkline.cqrs.saga_errors import SagaBusyError, StepTimeoutError
from trunkline.cqrs.saga_runner import Workshop
from trunkline.cqrs.step import Step, call
from trunkline.cqrs.step_book import StepBook
from trunkline.cqrs.undoing import Undoing, call_of, outputs_of
from trunkline.errors import LeaseLostError, LineClosedError, TrunklineError
from trunkline.runtime.loops import supervise
from trunkline.store.consumer_table import Session
from trunkline.store.saga_record import SagaKind, SagaRecord, SagaStatus, StepStatus

logger = logging.getLogger("trunkline.cqrs")


class CommandSteps:
    """Run the steps of commands, and take them back.

    Args:
        shop: What they are run with.
        book: Knows the steps.
        undoing: Takes sagas back.
        validate: Checks a command that a step changed.
    """

    def __init__(
        self,
        shop: Workshop,
        book: StepBook,
        undoing: Undoing,
        *,
        validate: Callable[[Command], object],
    ) -> None:
        self._shop = shop
        self._runner = shop.runner
        self._clock = shop.clock
        self._book = book
        self._undoing = undoing
        self._validate = validate

    # -- the loop's seam ----------------------------------------------------------------------

    async def run(self, command: Command, ctx: Context) -> Command:
        """Run a command's steps, each on record before it is called.

        Args:
            command: As the hooks left it.
            ctx: What is known of it.

        Returns:
            The command, as the steps left it.

        Raises:
            RefusedError: A step refused; those before it are taken back.
            HandlerError: A step failed for good; they are taken back, and so is it.
            SagaBusyError: The steps of this key are being run or taken back.
        """
        steps = self._book.of(ctx.name)
        if not steps:
            return command
        try:
            command = await self._resume(command, ctx)
            for step in steps:
                command = await self._pass(step, command, ctx)
        except Exception as error:
            await self.compensate(ctx, error)
            raise
        except BaseException:
            self._leave(ctx, "it was cancelled")
            raise
        return command

    async def compensate(self, ctx: Context, cause: BaseException) -> None:
        """Take a command's steps back, after its commit is known not to have happened.

        Returns when it is done, or has to wait for a worker. Never raises what an undo does.

        Args:
            ctx: What is known of the command.
            cause: Why.
        """
        done = self._leave(ctx, f"{type(cause).__name__}: {cause}")
        if done is not None:
            await asyncio.shield(done)

    async def settled(self, ctx: Context, tx: Session) -> None:
        """Have the saga end with the command's own transaction.

        Args:
            ctx: What is known of the command.
            tx: Its transaction.

        Raises:
            LeaseLostError: Another process has taken the saga for left, and takes it back.
        """
        saga: SagaRecord | None = ctx.saga
        if saga is None:
            return
        ended = decisions.settle(saga, SagaStatus.DONE, now=self._clock.now())
        await self._runner.table.move(tx, saga, ended.saga)
        self._runner.release(saga.id)

    # -- forward ------------------------------------------------------------------------------

    async def _resume(self, command: Command, ctx: Context) -> Command:
        """Go on with what a process that died has left of the same key, if there is such."""
        if not ctx.has_given_key:
            return command
        table = self._shop.table
        left = await table.find_key(SagaKind.COMMAND, ctx.name, _key_of(ctx))
        if left is None or left.status.is_final:
            return command
        taken = None
        if left.status is SagaStatus.RUNNING and await self._shop.is_left(left.owner):
            await self._runner.enlist()
            taken = await table.take(left, self._runner.id)
        if taken is None:
            raise _busy(left)
        self._adopt(ctx, taken)
        kind = stored(type(command))
        found: Command = kind.decoder.decode(taken.body)
        return found

    async def _pass(self, step: Step, command: Command, ctx: Context) -> Command:
        saga: SagaRecord | None = ctx.saga
        known = None if saga is None else saga.step(step.name)
        if known is not None and known.status in {StepStatus.DONE, StepStatus.SKIPPED}:
            return command
        if step.when is not None and not step.when(command):
            return command
        while True:
            saga = await self._begin(step, command, ctx)
            began, what = perf_counter(), ""
            try:
                found = await self._call(step, command, saga)
            except Exception as error:
                what = f"{type(error).__name__}: {error}"
                delay = await self._fail(step, error, ctx)
                if delay is None:
                    if isinstance(error, TrunklineError):
                        raise
                    raise HandlerError("step", step.name, ctx.name, error) from error
                await self._shop.sleep(delay)
            else:
                return await self._end(step, found, command, ctx)
            finally:
                ctx.spans.append(("step", step.name, began, perf_counter() - began, what))

    async def _begin(self, step: Step, command: Command, ctx: Context) -> SagaRecord:
        now, saga = self._clock.now(), ctx.saga
        data = None if step.undo_data is None else _json(step.undo_data(command))
        is_new = saga is None
        if saga is None:
            await self._runner.enlist()
            saga = _saga_of(command, ctx, owner=self._runner.id, now=now)
        change = decisions.begin_step(saga, step.name, undo=step.undo, undo_data=data, now=now)
        if is_new:
            await self._put_on_record(change.saga, ctx)
        else:
            await self._undoing.write(saga, change)
        self._adopt(ctx, change.saga)
        return change.saga

    async def _put_on_record(self, saga: SagaRecord, ctx: Context) -> None:
        self._adopt(ctx, saga)  # a commit whose answer is lost is taken back too
        async with self._shop.table.database.transaction() as tx:
            await self._runner.beat(tx)
            is_free = await self._shop.table.begin(tx, saga)
        if not is_free:
            ctx.saga = None
            self._runner.release(saga.id)
            raise _busy(saga)

    async def _call(self, step: Step, command: Command, saga: SagaRecord) -> Any:
        record = saga.step(step.name)
        assert record is not None  # noqa: S101 - it was begun just now
        told = call_of(saga, record, key=f"{saga.id}:{step.name}")
        limit = asyncio.timeout(step.timeout)
        try:
            async with limit:
                return await call(step.function, command, {"step": told, "key": told.key})
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise StepTimeoutError(
                f"step {step.name!r} of {saga.name!r} took more than {step.timeout} s",
                saga_id=saga.id,
            ) from error

    async def _fail(self, step: Step, error: Exception, ctx: Context) -> float | None:
        """Put a failure on record; return the seconds until the next try, None for no more."""
        saga = _begun(ctx)
        is_refusal = isinstance(error, RefusedError)
        record = saga.step(step.name)
        tries = 1 if record is None else record.attempts
        told = f"{type(error).__name__}: {error}"
        change = decisions.fail_step(
            saga, step.name, error=told, is_refusal=is_refusal, now=self._clock.now()
        )
        self._adopt(ctx, await self._undoing.write(saga, change))
        return None if is_refusal else step.retry.delay(tries, error)

    async def _end(self, step: Step, found: Any, command: Command, ctx: Context) -> Command:
        saga, body, output = _begun(ctx), None, None
        if isinstance(found, Command):
            if type(found) is not type(command):
                raise HandlerError(
                    "step",
                    step.name,
                    ctx.name,
                    TypeError(f"it made a {type(found).__name__} of a {type(command).__name__}"),
                )
            self._validate(found)
            command, body = found, _json(found)
        elif found is not None:
            output = _json(found)
        change = decisions.end_step(
            saga, step.name, output=output, body=body, now=self._clock.now()
        )
        self._adopt(ctx, await self._undoing.write(saga, change))
        return command

    def _adopt(self, ctx: Context, saga: SagaRecord) -> None:
        ctx.saga = saga
        ctx.outputs = outputs_of(saga)
        self._runner.hold(saga.id)

    # -- backward -----------------------------------------------------------------------------

    def _leave(self, ctx: Context, error: str) -> asyncio.Future[None] | None:
        """Have a command's steps taken back in the background, so that no cancelling stops it."""
        saga: SagaRecord | None
        saga, ctx.saga = ctx.saga, None
        if saga is None:
            return None
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        back = partial(self._back, saga, error, done)
        try:
            self._shop.run(f"undo {saga.id}", partial(supervise, f"the saga {saga.id}", back))
        except LineClosedError:  # the line closes: who comes after takes it back
            self._runner.release(saga.id)
            return None
        return done

    async def _back(self, saga: SagaRecord, error: str, done: asyncio.Future[None]) -> None:
        try:
            await self._undoing.take_back(saga, error)
        except LeaseLostError as lost:
            # Another process goes on with it; or it was committed after all.
            logger.warning("the saga %s is not taken back here: %s", saga.id, lost)
        finally:
            if not done.done():
                done.set_result(None)
        self._runner.release(saga.id)


def _key_of(ctx: Context) -> str:
    """Return the key under which a saga is found: a tenant's keys are its own."""
    return ctx.key if ctx.site_id is None else f"{ctx.site_id}/{ctx.key}"


def _begun(ctx: Context) -> SagaRecord:
    assert ctx.saga is not None  # noqa: S101 - its step was begun just now
    return ctx.saga


def _saga_of(command: Command, ctx: Context, *, owner: str, now: float) -> SagaRecord:
    origin = {
        "command": ctx.command_id,
        "correlation": ctx.correlation,
        "causation": ctx.causation,
        "actor": ctx.actor,
        "site_id": ctx.site_id,
        "domain": ctx.domain,
    }
    return SagaRecord(
        id=new_id(now),
        kind=SagaKind.COMMAND,
        name=ctx.name,
        key=_key_of(ctx),
        version=stored(type(command)).version,
        body=_json(command),
        context=_json(origin),
        owner=owner,
        begun_at=now,
        moved_at=now,
    )


def _busy(saga: SagaRecord) -> SagaBusyError:
    return SagaBusyError(
        f"the steps of {saga.name!r} for the key {saga.key!r} are {saga.status}: look at "
        f"'trunkline sagas show {saga.id}', or try again later",
        saga_id=saga.id,
    )


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
