"""The sender: takes a command through hooks, steps and transaction, and settles how it ended."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any, cast

from trunkline.channels.transaction import LineTransaction
from trunkline.channels.wing import Premises
from trunkline.cqrs.batch import BatchJob, parts_of
from trunkline.cqrs.closing import Closing, KeyTakenError, moved, tag_rows
from trunkline.cqrs.command import Command, Recorded
from trunkline.cqrs.context import Context, Origin, new_id
from trunkline.cqrs.errors import CommandError
from trunkline.cqrs.frame import Frame
from trunkline.cqrs.job import CommandJob
from trunkline.cqrs.keys import checked_key, fingerprint, repeated
from trunkline.cqrs.loop import Loop, Steps
from trunkline.cqrs.member import Member
from trunkline.cqrs.plan import Heard
from trunkline.cqrs.queue import Queue
from trunkline.cqrs.result import Result
from trunkline.cqrs.scope import Commit, Scope, Stores
from trunkline.cqrs.tracer import Tracer
from trunkline.errors import LogUnavailableError, OutcomeUnknownError, TrunklineError
from trunkline.log.joint import JointTransaction
from trunkline.model.message import Receipt
from trunkline.sql.database import Database
from trunkline.store.command_table import CommandRow, Known
from trunkline.store.unit import UnitOfWork

#: How often a key is looked at that is taken by a command which is not committed yet.
KEY_LOOKS = 10


class Sender:
    """Send commands, each in a commit of the queue or in a transaction that is open.

    Args:
        premises: What it works with.
        queue: Where commands wait for a commit.
        stores: What scopes share.
        closing: Writes the ends of transactions.
        database: Where keys are looked up.
        tracer: Noted to, when a command has ended.
    """

    def __init__(
        self,
        premises: Premises,
        queue: Queue,
        *,
        stores: Stores,
        closing: Closing,
        database: Database,
        tracer: Tracer,
    ) -> None:
        self._premises = premises
        self._clock = premises.clock
        self._queue = queue
        self._stores = stores
        self._closing = closing
        self._database = database
        self._tracer = tracer

    # -- in a commit of its own ---------------------------------------------------------------

    async def send(
        self, loop: Loop, command: Command, origin: Origin, steps: Steps | None
    ) -> Result:
        """Run a command and return when it is durable."""
        self._queue.check()
        began = perf_counter()
        job = self._job(loop, command, origin)
        try:
            result = await self._send(loop, job, steps)
        except TrunklineError as error:
            _mark(error, job.ctx)
            self._tracer.note(job.ctx, began, error=error)
            raise
        if not result.is_repeat:
            self._tracer.note(job.ctx, began, result=result)
        return result

    async def _send(self, loop: Loop, job: CommandJob, steps: Steps | None) -> Result:
        plan, ctx = job.plan, job.ctx
        if ctx.has_given_key and (known := await self._known(ctx)) is not None:
            return await self._repeated(known, job)
        command = job.sent
        if plan.before:
            command = await loop.hooked(plan.before, command, ctx, plan)
        if steps is not None:
            return await self._send_after(steps, loop, job, command)
        if plan.after:
            command = await loop.hooked(plan.after, command, ctx, plan)
        return await self._commit(job, command)

    async def _send_after(
        self, steps: Steps, loop: Loop, job: CommandJob, command: Command
    ) -> Result:
        """Run a command's saga steps, then the command; take them back if it isn't stored."""
        plan, ctx = job.plan, job.ctx
        command = plan.validated(await steps.run(command, ctx))
        job.steps = steps
        try:
            command = await loop.hooked(plan.after, command, ctx, plan)
            return await self._commit(job, command)
        except BaseException as error:
            # Also when the outcome is not known: the saga ends in the command's own transaction,
            # so that it is taken back only if that was not committed.
            if not job.is_stored:
                await steps.compensate(ctx, error)
            raise

    async def _commit(self, job: CommandJob, command: Any) -> Result:
        job.aim(command)
        for _ in range(KEY_LOOKS):
            member = Member(job)
            if self._queue.is_full:
                await self._queue.wait_for_room()
            self._queue.add(member)
            try:
                await member.attend(self._queue.working)
            except KeyTakenError:
                # By a command that may not be committed yet, and may never be.
                known = await self._known(job.ctx)
                if known is not None:
                    if job.steps is not None:
                        await job.steps.compensate(job.ctx, KeyTakenError("its key was used"))
                    return await self._repeated(known, job)
                continue
            except OutcomeUnknownError as error:
                if not await self._is_stored(job.row, error):
                    raise LogUnavailableError(
                        "the database went away during a commit: nothing was stored"
                    ) from error
            finally:
                job.is_stored = member.is_stored
            if member.scope is not None:
                await member.scope.unit.settle()
            return job.placed(member.receipts)
        raise KeyTakenError(f"the key {job.ctx.key!r} is used by commands that don't end")

    async def send_many(self, loop: Loop, commands: Sequence[Command], origin: Origin) -> Result:
        """Run several commands in one transaction, all or none."""
        self._queue.check()
        began = perf_counter()
        plans = [loop.plan.command(type(one)) for one in commands]
        job = self._job(loop, commands[0], origin, make=BatchJob)
        try:
            job.sent = [plan.validated(one) for plan, one in zip(plans, commands, strict=True)]
            if job.ctx.has_given_key and (known := await self._known(job.ctx)) is not None:
                return await self._repeated(known, job)
            ready = []
            for plan, one in zip(plans, job.sent, strict=True):
                changed = await loop.hooked(plan.before, one, job.ctx, plan)
                ready.append(await loop.hooked(plan.after, changed, job.ctx, plan))
            result = await self._commit(job, parts_of(plans, ready))
        except TrunklineError as error:
            _mark(error, job.ctx)
            self._tracer.note(job.ctx, began, error=error)
            raise
        self._tracer.note(job.ctx, began, result=result)
        return result

    # -- in a transaction that is open --------------------------------------------------------

    async def send_in(
        self, tx: LineTransaction, loop: Loop, command: Command, origin: Origin
    ) -> Result:
        """Run a command in a unit of work that is open; its events get their ids at its end."""
        job = self._job(loop, command, origin)
        try:
            return await self._send_in(tx, loop, job)
        except TrunklineError as error:
            _mark(error, job.ctx)
            raise

    async def _send_in(self, tx: LineTransaction, loop: Loop, job: CommandJob) -> Result:
        plan, ctx, unit = job.plan, job.ctx, tx.unit
        if ctx.has_given_key:
            known = await self._closing.table.find(unit, ctx.site_id, ctx.key)
            if known is not None:
                return await self._repeated(known, job)
        command = await loop.hooked(plan.before, job.sent, ctx, plan)
        job.aim(await loop.hooked(plan.after, command, ctx, plan))
        scope = self.scope_of(unit)
        async with unit.savepoint():
            await job.run(scope)
            rows = () if job.row is None else (job.row,)
            # Where another transaction holds the key, this waits for its end.
            if rows and not await self._closing.table.add(unit, rows):
                raise KeyTakenError(f"the key {ctx.key!r} was used a moment ago")
            unit.before_commit(self._finisher(job, scope))
            unit.after_commit(_placer(job, unit))
        return job.result

    def scope_of(self, unit: UnitOfWork) -> Scope:
        """Return what the commands of an open unit of work have in hand, all of them together.

        Args:
            unit: Of ``line.transaction()``, or a consumer's.
        """
        found: Scope | None = unit.memo.get(Scope)
        if found is None:
            transaction = cast("JointTransaction", unit.transaction)
            found = unit.memo[Scope] = Scope(unit, transaction, Commit(self._stores))
        return found

    def _finisher(
        self, job: CommandJob, scope: Scope
    ) -> Callable[[Sequence[Receipt]], Awaitable[None]]:
        conditions, scope.conditions = scope.conditions, []

        async def finish(receipts: Sequence[Receipt]) -> None:
            scope.conditions = conditions
            if not await self._closing.holds(scope.transaction, scope):
                raise moved()
            if rows := tag_rows(job.staged, receipts):
                await self._closing.table.add_tags(scope.transaction, rows)

        return finish

    async def react(self, loop: Loop, frame: Frame, heard: Heard, recorded: Recorded[Any]) -> None:
        """Run an eventual handler in a consumer's unit of work, and keep its events' tags."""
        scope, unit = frame.scope, frame.tx.unit
        first = len(scope.staged)
        await loop.react(frame, heard, recorded)
        staged = scope.staged[first:]
        if any(one.recorded.headers.tags for one in staged):

            async def tag(receipts: Sequence[Receipt]) -> None:
                await self._closing.table.add_tags(scope.transaction, tag_rows(staged, receipts))

            unit.before_commit(tag)

    # -- both ---------------------------------------------------------------------------------

    def _job(
        self,
        loop: Loop,
        command: Command,
        origin: Origin,
        make: type[CommandJob] = CommandJob,
    ) -> CommandJob:
        plan = loop.plan.command(type(command))
        if origin.key is not None:
            checked_key(origin.key)
        ctx = Context(new_id(self._clock.now()), plan.name, plan.domain.name, origin)
        job = make(loop, self._premises.bus, self._clock, plan, ctx)
        try:
            job.sent = plan.validated(command)
        except CommandError as error:
            _mark(error, ctx)
            self._tracer.note(ctx, perf_counter(), error=error)
            raise
        return job

    async def _known(self, ctx: Context) -> Known | None:
        return await self._closing.table.find(self._database, ctx.site_id, ctx.key)

    async def _repeated(self, known: Known, job: CommandJob) -> Result:
        return await repeated(
            known,
            job.ctx.key,
            fingerprint(job.plan.name, job.sent),
            self._premises.log,
            self._stores.catalog,
        )

    async def _is_stored(self, row: CommandRow | None, cause: OutcomeUnknownError) -> bool:
        """Settle a commit whose answer was lost by the row it was to write.

        Writing that row again waits until the lost transaction has ended, however it does.

        Raises:
            OutcomeUnknownError: There is no row, or the server stays away.
        """
        if row is None:
            raise cause
        try:
            async with self._database.transaction() as tx:
                is_absent = bool(await self._closing.table.add(tx, (row,)))
                if is_absent:
                    raise _AbsentError
        except _AbsentError:
            return False
        except TrunklineError as error:
            raise cause from error
        return True


class _AbsentError(Exception):
    """Leave a transaction that only looked."""


def _placer(job: CommandJob, unit: UnitOfWork) -> Callable[[], Awaitable[None]]:
    async def place() -> None:
        job.placed(unit.receipts)

    return place


def _mark(error: TrunklineError, ctx: Context) -> None:
    """Have an error carry the id under which the command's trace is found."""
    with contextlib.suppress(AttributeError):
        if not getattr(error, "trace_id", ""):
            error.trace_id = ctx.trace_id  # type: ignore[attr-defined]
