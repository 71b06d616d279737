"""Commands that wait in the log: left by a transaction, run after its commit, once each."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from trunkline.cqrs.command import Command, stored
from trunkline.cqrs.context import Origin
from trunkline.model.channel import INTERNAL_PREFIX
from trunkline.model.message import Limits, Message

CHANNEL: Final = f"{INTERNAL_PREFIX}commands/"
CONSUMER: Final = "commands."
#: What waits is not trimmed before it has been run.
KEEP: Final = Limits(max_backlog_size=None, max_backlog_age=None)


class Queued(msgspec.Struct, frozen=True, omit_defaults=True):
    """Be a command as it waits.

    Args:
        name: Its stored name.
        key: The key it will run under.
        fields: Its fields.
        origin: Where it comes from: actor, tenant, correlation, causation.
    """

    name: str
    key: str
    fields: Any
    actor: str | int | None = None
    site_id: str | None = None
    correlation: str | None = None
    causation: str | None = None

    @property
    def origin(self) -> Origin:
        """Return where it comes from."""
        return Origin(self.key, self.actor, self.site_id, self.correlation, self.causation)


def channel_of(domain: str) -> str:
    """Return the channel in which a domain's commands wait."""
    return f"{CHANNEL}{domain}"


def queued(command: Command, key: str, origin: Origin) -> Queued:
    """Return a command as it waits.

    Args:
        command: The command, valid.
        key: The key it will run under.
        origin: Where it comes from.
    """
    return Queued(
        name=stored(type(command)).name,
        key=key,
        fields=msgspec.Raw(msgspec.json.encode(command)),
        actor=origin.actor,
        site_id=origin.site_id,
        correlation=origin.correlation,
        causation=origin.causation,
    )


def read_queued(message: Message) -> Queued:
    """Return what waits in a message."""
    return msgspec.convert(message.data, Queued)


def key_of(message: Message) -> str:
    """Return the key of what waits: a command that fails keeps no other one waiting."""
    return str(message.data["key"])
