"""Trunkline: one durable line from what happened to everyone who must know.

The everyday names are here; each room has the rest::

    from trunkline import Trunkline

    line = Trunkline("sqlite:///app.db")
    await line.publish("/orders", {"id": 7})
    async for message in line.subscribe("/orders", after=0):
        print(message.message_id, message.data)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trunkline.model.release import VERSION

if TYPE_CHECKING:
    from trunkline.app import Trunkline
    from trunkline.cqrs.command import Command, Event
    from trunkline.cqrs.errors import Refused
    from trunkline.errors import GapError, TrunklineError
    from trunkline.gateway.request import Request
    from trunkline.model.channel import ChannelKey
    from trunkline.model.identity import Identity
    from trunkline.model.interest import ANY_SITE
    from trunkline.model.message import Limits, Message, Receipt
    from trunkline.model.position import Position

__version__ = VERSION

__all__ = [
    "ANY_SITE",
    "ChannelKey",
    "Command",
    "Event",
    "GapError",
    "Identity",
    "Limits",
    "Message",
    "Position",
    "Receipt",
    "Refused",
    "Request",
    "Trunkline",
    "TrunklineError",
    "__version__",
]

_HOMES = {
    "ANY_SITE": "model.interest",
    "ChannelKey": "model.channel",
    "Command": "cqrs.command",
    "Event": "cqrs.command",
    "GapError": "errors",
    "Identity": "model.identity",
    "Limits": "model.message",
    "Message": "model.message",
    "Position": "model.position",
    "Receipt": "model.message",
    "Refused": "cqrs.errors",
    "Request": "gateway.request",
    "Trunkline": "app",
    "TrunklineError": "errors",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for, so that no room pays for the whole house."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"trunkline.{_HOMES[name]}"), name)
    return found
