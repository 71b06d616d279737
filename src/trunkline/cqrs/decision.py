"""What a handler gives back, whichever way it gives it: yielded, returned, awaited, one or many."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Iterable
from typing import Any

from trunkline.cqrs.handler import Handler
from trunkline.cqrs.pattern import Params
from trunkline.cqrs.result import is_outcome
from trunkline.cqrs.signature import PARAMS


def supplies_of(**found: Any) -> dict[str, Any]:
    """Return what handlers may ask for, by role."""
    return found


async def called(handler: Handler, subject: Any, params: Params, supplies: dict[str, Any]) -> Any:
    """Call a handler and return what it gives back; an asynchronous generator as a list.

    Args:
        handler: The handler.
        subject: A command or an event.
        params: What its pattern captured.
        supplies: What it may ask for besides, by role.
    """
    if params:
        supplies = {**supplies, PARAMS: params}
    value = handler.signature.call(subject, supplies)
    if inspect.isawaitable(value):
        value = await value
    if isinstance(value, AsyncIterable):
        return [one async for one in value]
    if inspect.isgenerator(value):
        return list(value)
    return value


def outcomes(value: Any) -> tuple[list[Any], Any]:
    """Part events, commands and replies from data.

    Args:
        value: What a handler gave back.

    Returns:
        The former in order, and the data, None if there is none.
    """
    if value is None:
        return [], None
    if is_outcome(value):
        return [value], None
    if isinstance(value, (list, tuple)) and any(map(is_outcome, value)):
        found = [one for one in value if is_outcome(one)]
        rest = [one for one in value if not is_outcome(one) and one is not None]
        return found, (rest or None)
    if isinstance(value, Iterable) and not value and isinstance(value, (list, tuple)):
        return [], None
    return [], value
