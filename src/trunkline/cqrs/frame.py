"""One command on its way through a transaction, and what its handlers are watched by."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any, NamedTuple

from trunkline.channels.transaction import LineTransaction
from trunkline.cqrs.context import Context
from trunkline.cqrs.errors import CommandError, HandlerError
from trunkline.cqrs.handler import Handler
from trunkline.cqrs.plan import CommandPlan
from trunkline.cqrs.result import Result
from trunkline.cqrs.scope import Scope
from trunkline.errors import TrunklineError


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


@asynccontextmanager
async def watched(handler: Handler, subject: str, ctx: Context) -> AsyncIterator[None]:
    """Note how long a handler took, and name it in what it raises."""
    began = perf_counter()
    what = ""
    try:
        yield
    except TrunklineError as error:
        what = str(error)
        if isinstance(error, CommandError) and not error.trace_id:
            error.trace_id = ctx.trace_id
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        failed = HandlerError(handler.role, handler.name, subject, error)
        failed.trace_id = ctx.trace_id
        raise failed from error
    finally:
        took = perf_counter() - began
        ctx.spans.append((handler.role.value, handler.name, began, took, what))
