"""Events tell of changed entities by themselves, in the transaction that stores them.

tell_changes(line, {"cart.:cart_id.*": "carts"})
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final

from trunkline.errors import ConfigError

if TYPE_CHECKING:
    from trunkline.app import Trunkline

_NAMES: Final = re.compile(r":([A-Za-z_][A-Za-z0-9_]*)")


def tell_changes(line: Trunkline, patterns: Mapping[str, str]) -> None:
    """Have every event that matches a pattern tell that an entity changed.

    The notice is committed with the event and with the strong read models of it.

    Args:
        line: The line.
        patterns: By pattern of events' names the kind of entity, whose id is what the pattern
            captures; or the kind and the name of one of several captures, as ``carts:cart_id``.

    Raises:
        ConfigError: A pattern captures nothing, or several and none is named.
    """
    for pattern, told in patterns.items():
        entity, _, captured = told.partition(":")
        names = _NAMES.findall(pattern)
        if captured:
            names = [name for name in names if name == captured]
        if len(names) != 1:
            raise ConfigError(
                f"{pattern!r} must capture one id for {entity!r}: write it like item.:item_id.*, "
                f"and name the capture if there are several: {entity}:item_id"
            )
        line.projector(pattern)(_teller(line, entity, names[0], pattern))


def _teller(
    line: Trunkline, entity: str, captured: str, pattern: str
) -> Callable[..., Coroutine[Any, Any, None]]:
    async def tell(event: Any, tx: Any, **found: str) -> None:  # noqa: ARG001 - only its name counts
        await line.changed(entity, found[captured], tx=tx)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    names = ("event", "tx", captured)
    tell.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, kind) for name in names]
    )
    tell.__qualname__ = tell.__name__ = f"notices of {entity} by {pattern}"
    return tell
