"""What a client is told of a command that is durable: names and places, never an event's fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class ToldEvent(msgspec.Struct, frozen=True):
    """Be an event as a client is told of it: what happened and where, without its fields.

    Args:
        id: The event's own id.
        name: The name it is heard under.
        version: Its place in its stream.
        position: Its global id.
    """

    id: str
    name: str
    version: int
    position: int


class Told(msgspec.Struct, frozen=True):
    """Be what a client is told of a command that is durable.

    Args:
        id: The command's id.
        name: Its stored name.
        events: What it came to.
        position: A reader at this position has seen all of it; null without events.
        reply: What the command replied.
        data: What its handlers gave back, merged.
        repeated: Whether the key had been used, so that this is the first run's result.
    """

    id: str
    name: str
    events: tuple[ToldEvent, ...]
    position: str | None
    reply: Any
    data: Mapping[str, Any]
    repeated: bool
