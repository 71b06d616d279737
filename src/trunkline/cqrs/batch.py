"""Batches: several commands that are stored together or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from trunkline.channels.transaction import LineTransaction
from trunkline.cqrs.frame import Frame
from trunkline.cqrs.job import CommandJob
from trunkline.cqrs.plan import CommandPlan
from trunkline.cqrs.result import Result
from trunkline.cqrs.scope import Scope


class Part(NamedTuple):
    """Be neighbours of one kind, which a function that takes lists decides in one call.

    Args:
        plan: What they run through.
        commands: They.
    """

    plan: CommandPlan
    commands: Sequence[Any]


def parts_of(plans: Sequence[CommandPlan], commands: Sequence[Any]) -> list[Part]:
    """Part commands by who decides them, in their order."""
    parts: list[Part] = []
    for plan, command in zip(plans, commands, strict=True):
        if parts and parts[-1].plan is plan and plan.handler.signature.is_batch:
            parts[-1] = Part(plan, [*parts[-1].commands, command])
        else:
            parts.append(Part(plan, [command]))
    return parts


class BatchJob(CommandJob):
    """Be several commands on their way through one transaction."""

    def aim(self, command: Any) -> None:
        """Take the commands that are decided."""
        self.command = command
        self.target = None

    async def decide(self, scope: Scope, tx: LineTransaction, result: Result) -> None:
        """Decide them one after another; each sees what those before it decided."""
        for plan, commands in self.command:
            await self.loop.run(Frame(plan, list(commands), self.ctx, scope, tx, result))
