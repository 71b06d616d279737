"""What is said of a channel where it is declared, and what its function may return."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypedDict

import msgspec

from trunkline.channels.drafting import PublishOptions
from trunkline.errors import ConfigError

ETERNAL: Final = "eternal"
EPHEMERAL: Final = "ephemeral"


class ChannelOptions(TypedDict, total=False):
    """Be the options of a channel, all of them optional.

    Attributes:
        priority: The lower is told first of one event; 255 if not given.
        to: The channel's name, with ``:name`` for what the pattern captured or a field of the
            event; ``/events/`` and the event's name, with slashes for dots, if not given.
        lifespan: ``eternal``, or ``ephemeral``: each channel is gone after its first message.
        name: Names the function; its own name if not given.
        domains: Whose events it hears beside its own domain's; ``*`` for all.
        enabled: Whether it tells at all.
        legacy_wildcards: Read ``*`` as spool-broadcast does.
    """

    priority: int
    to: str
    lifespan: str
    name: str
    domains: str | Sequence[str]
    enabled: bool
    legacy_wildcards: bool


class Push(msgspec.Struct, frozen=True):
    """Be what a channel's function returns to tell only some.

    Args:
        data: Any JSON value.
        options: As for ``line.publish``: ``user_ids``, ``group_ids``, ``client_ids`` …
    """

    data: Any
    options: PublishOptions = {}


def handler_options(options: ChannelOptions) -> dict[str, Any]:
    """Return the options of the handler that a channel is.

    Raises:
        ConfigError: The lifespan or the place is none.
    """
    lifespan, to = options.get("lifespan", ETERNAL), options.get("to")
    if lifespan not in {ETERNAL, EPHEMERAL}:
        raise ConfigError(f"a lifespan is 'eternal' or 'ephemeral', not {lifespan!r}")
    if to is not None and not to.startswith("/"):
        raise ConfigError(f"a channel's name starts with '/': to={to!r}")
    rest = {key: value for key, value in options.items() if key not in {"lifespan", "to"}}
    return {**rest, "consistency": "eventual", "extra": {"lifespan": lifespan, "to": to}}
