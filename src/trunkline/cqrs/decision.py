"""What a handler gave back, parted: events, commands and replies here, data there."""

from __future__ import annotations

from typing import Any

from trunkline.cqrs.result import is_outcome


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
    if isinstance(value, (list, tuple)) and not value:
        return [], None
    return [], value
