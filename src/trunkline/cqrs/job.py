"""One command as a job: what is done for it in a transaction, as often as it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from trunkline.channels.transaction import LineTransaction
from trunkline.channels.wing import WingedBus
from trunkline.cqrs.closing import BoundaryMovedError, EpochMovedError
from trunkline.cqrs.context import Context
from trunkline.cqrs.frame import Frame
from trunkline.cqrs.keys import fingerprint, kept
from trunkline.cqrs.loop import Loop, Steps
from trunkline.cqrs.plan import CommandPlan
from trunkline.cqrs.result import Result
from trunkline.cqrs.scope import Scope, Staged, Target
from trunkline.errors import VersionConflictError
from trunkline.model.message import Receipt
from trunkline.runtime.clock import Clock
from trunkline.store.command_table import CommandRow

#: Attempts after which a command keeps other writers waiting while it is decided.
PATIENT_ATTEMPTS: Final = 2


class CommandJob:
    """Be one command on its way through a transaction.

    Args:
        loop: Runs it.
        bus: Makes transactions as handlers see them.
        clock: Tells the time.
        plan: What the command runs through.
        ctx: What is known of it.

    Attributes:
        sent: The command as it was sent, valid.
        command: The command, as hooks and steps left it.
        steps: Its saga steps, when it has such.
        result: What the last run came to.
        staged: The events of the last run.
        is_stored: Whether it is known to be committed.
    """

    def __init__(
        self, loop: Loop, bus: WingedBus, clock: Clock, plan: CommandPlan, ctx: Context
    ) -> None:
        self.loop = loop
        self._bus = bus
        self._clock = clock
        self.plan = plan
        self.ctx = ctx
        self.command: Any = None
        self.sent: Any = None
        self.steps: Steps | None = None
        self.target: Target | None = None
        self.is_alone = plan.boundary is not None
        self.row: CommandRow | None = None
        self.result = Result(ctx.command_id, plan.name, ctx.key)
        self.staged: Sequence[Staged] = ()
        self.is_stored = False

    def aim(self, command: Any) -> None:
        """Take the command that is decided, and tell its aggregate beforehand."""
        self.command = command
        plan = self.plan
        if plan.aggregate is not None:
            ident = getattr(command, plan.id_field or "")
            self.target = plan.aggregate.stream(ident, self.ctx.site_id), plan.aggregate

    async def run(self, scope: Scope) -> None:
        """Decide the command, do what follows, and prepare what is kept of it."""
        ctx = self.ctx
        result = self.result = Result(ctx.command_id, self.plan.name, ctx.key)
        result.context, result.attempts = ctx, ctx.attempt
        ctx.begin()
        tx = self._bus.transaction_over(scope.unit)
        first = len(scope.staged)
        await self.decide(scope, tx, result)
        await scope.save_snapshots()
        if self.steps is not None:
            await self.steps.settled(ctx, tx)
        self.staged = scope.staged[first:]
        result.events = tuple(one.recorded for one in self.staged)
        self.row = self._row(result, scope)

    async def decide(self, scope: Scope, tx: LineTransaction, result: Result) -> None:
        """Decide the command and do what follows."""
        await self.loop.run(Frame(self.plan, self.command, self.ctx, scope, tx, result))

    def _row(self, result: Result, scope: Scope) -> CommandRow | None:
        """Return what is kept under the key; what is found by its events needs nothing kept."""
        ctx = self.ctx
        needed = ctx.has_given_key or self.steps is not None
        if not needed and (scope.unit.drafts or not scope.unit.writes):
            return None
        events = [
            (one.draft.channel.site_id, one.draft.channel.name, one.recorded.stream_version)
            for one in self.staged
        ]
        return CommandRow(
            site_id=ctx.site_id or "",
            key=ctx.key,
            command_id=ctx.command_id,
            name=self.plan.name,
            fingerprint=fingerprint(self.plan.name, self.sent),
            result=kept(result, events),
            at=self._clock.now(),
        )

    @property
    def is_urgent(self) -> bool:
        """Tell whether others were quicker so often that it had better keep them waiting."""
        return self.ctx.attempt > PATIENT_ATTEMPTS

    def may_repeat(self, error: Exception) -> bool:
        """Tell whether to decide once more, because others were quicker."""
        is_race = isinstance(error, (VersionConflictError, BoundaryMovedError, EpochMovedError))
        if not is_race or self.ctx.attempt >= self.plan.max_attempts:
            return False
        self.ctx.attempt += 1
        return True

    def placed(self, receipts: Sequence[Receipt]) -> Result:
        """Return the result with the ids that the commit gave."""
        result = self.result
        if receipts:
            result.position = receipts[-1].position
            if self.staged:
                result.place([receipts[one.place].global_id for one in self.staged])
        return result
