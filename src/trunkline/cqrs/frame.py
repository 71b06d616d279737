"""One command on its way through a transaction."""

from __future__ import annotations

from typing import Any, NamedTuple

from trunkline.channels.transaction import LineTransaction
from trunkline.cqrs.context import Context
from trunkline.cqrs.plan import CommandPlan
from trunkline.cqrs.result import Result
from trunkline.cqrs.scope import Scope


class Frame(NamedTuple):
    """Be one command on its way.

    Args:
        plan: What it runs through.
        command: The command, valid.
        ctx: What is known of it.
        scope: What it has in hand.
        tx: The transaction as handlers see it.
        result: What it comes to.
    """

    plan: CommandPlan
    command: Any
    ctx: Context
    scope: Scope
    tx: LineTransaction
    result: Result

    @property
    def supplies(self) -> dict[str, Any]:
        """Return what handlers may ask for, by role."""
        return {"tx": self.tx, "ctx": self.ctx}
