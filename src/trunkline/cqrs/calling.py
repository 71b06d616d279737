"""Calling a handler, however it gives back what it gives: yielded, returned, awaited."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable
from time import perf_counter
from typing import Any

from trunkline.cqrs.context import Context
from trunkline.cqrs.errors import CommandError, HandlerError
from trunkline.cqrs.handler import Handler
from trunkline.cqrs.pattern import Params
from trunkline.cqrs.signature import PARAMS
from trunkline.errors import TrunklineError


async def called(handler: Handler, subject: Any, params: Params, supplies: dict[str, Any]) -> Any:
    """Call a handler and return what it gives back; what it yields as a list.

    Args:
        handler: The handler.
        subject: A command or an event.
        params: What its pattern captured.
        supplies: What it may ask for besides, by role.
    """
    if params:
        supplies = {**supplies, PARAMS: params}
    signature = handler.signature
    value = signature.call(subject, supplies)
    if signature.is_generator:
        if signature.is_async:
            return [one async for one in value]
        return list(value)
    if signature.is_async or inspect.isawaitable(value):
        value = await value
    if value is None:
        return None
    if isinstance(value, AsyncIterable):
        return [one async for one in value]
    if inspect.isgenerator(value):
        return list(value)
    return value


async def watched(
    handler: Handler,
    subject: Any,
    params: Params,
    supplies: dict[str, Any],
    *,
    name: str,
    ctx: Context,
) -> Any:
    """Call a handler, note how long it took, and name it in what it raises.

    Args:
        handler: The handler.
        subject: A command or an event.
        params: What its pattern captured.
        supplies: What it may ask for besides, by role.
        name: The subject's name.
        ctx: Of the command it is part of.

    Raises:
        TrunklineError: As the handler raised it.
        HandlerError: It raised something else, which is chained.
    """
    began = perf_counter()
    what = ""
    try:
        return await called(handler, subject, params, supplies)
    except TrunklineError as error:
        what = str(error)
        if isinstance(error, CommandError) and not error.trace_id:
            error.trace_id = ctx.trace_id
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        failed = HandlerError(handler.role, handler.name, name, error)
        failed.trace_id = ctx.trace_id
        raise failed from error
    finally:
        took = perf_counter() - began
        ctx.spans.append((handler.role.value, handler.name, began, took, what))
