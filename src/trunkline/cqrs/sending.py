"""How a command is sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

from trunkline.channels.transaction import LineTransaction


class OriginOptions(TypedDict, total=False):
    """Be what may be said of where a command comes from.

    Attributes:
        key: The same key again brings the first result and runs nothing.
        actor: Who wants it, kept with its events.
        site_id: The tenant, instead of the one the site lookup gives.
    """

    key: str | None
    actor: str | int | None
    site_id: str | None


class SendOptions(OriginOptions, total=False):
    """Be the options of sending a command.

    Attributes:
        tx: A transaction from ``line.transaction()`` to run in, instead of its own.
        wait: Eventual handlers (functions or names) whose effects shall be there on return.
        timeout: Seconds to wait for them at most; 10 if not given.
    """

    tx: LineTransaction | None
    wait: Sequence[Any]
    timeout: float


class EnqueueOptions(OriginOptions, total=False):
    """Be the options of leaving a command.

    Attributes:
        tx: A transaction that is open: one of ``line.transaction()``, or another library's as
            for ``line.publish``. Without one the command is stored at once.
    """

    tx: Any
