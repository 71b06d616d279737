"""What a handler may know of the command it is part of."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from trunkline.channels.transaction import LineTransaction
from trunkline.errors import UsageError

if TYPE_CHECKING:
    from trunkline.cqrs.command import Command, Recorded
    from trunkline.cqrs.result import Result
    from trunkline.store.saga_record import SagaRecord

#: Name, what it did, when it began and how long it took (seconds), what went wrong.
Span = tuple[str, str, float, float, str]
#: Runs a command inside another's transaction.
Nest = Callable[["Command", "Context", Mapping[str, Any]], Awaitable["Result | None"]]


def new_id(now: float) -> str:
    """Return an id that sorts by time: 48 bits of milliseconds, then 80 of chance.

    Args:
        now: Unix seconds.
    """
    return f"{int(now * 1000):012x}{os.urandom(10).hex()}"


class Origin(NamedTuple):
    """Be where a command comes from.

    Args:
        key: The caller's key, or None.
        actor: Who wants it.
        site_id: The tenant.
        correlation: The id of the tree it belongs to; its own id if it is the first.
        causation: The id of what led to it: an event's or a command's.
        depth: How many commands it is nested in.
    """

    key: str | None = None
    actor: str | int | None = None
    site_id: str | None = None
    correlation: str | None = None
    causation: str | None = None
    depth: int = 0


class Context:
    """Be what is known of one command while it runs.

    Args:
        command_id: Its own id.
        name: Its stored name.
        domain: Whose command it is.
        origin: Where it comes from.

    Attributes:
        key: The key it was sent under; its id when none was given.
        has_given_key: Whether one was given.
        attempt: Counts, from 1, how often it was decided.
        metadata: What hooks leave for later ones; not stored.
        event: The event that is being handled, while one is.
        outputs: What its saga steps returned, by their names.
        saga: Its saga as it is on record, while it has one.
        spans: What was done and how long it took.
        children: The contexts of commands it led to.
        began: When it was sent, by ``time.perf_counter``; 0 until it has ended.
        took: Seconds that it took with its commit; 0 until it has ended.
    """

    __slots__ = (
        "_events",
        "actor",
        "attempt",
        "began",
        "causation",
        "children",
        "command_id",
        "correlation",
        "depth",
        "domain",
        "event",
        "has_given_key",
        "key",
        "metadata",
        "name",
        "nest",
        "outputs",
        "saga",
        "site_id",
        "spans",
        "took",
        "work",
    )

    def __init__(self, command_id: str, name: str, domain: str, origin: Origin) -> None:
        self.command_id = command_id
        self.name = name
        self.domain = domain
        key, self.actor, self.site_id, correlation, causation, self.depth = origin
        self.has_given_key = key is not None
        self.key = command_id if key is None else key
        self.correlation = correlation or command_id
        self.causation = causation or command_id
        self.attempt = 1
        self.metadata: dict[str, Any] = {}
        self.work: LineTransaction | None = None
        self.event: Recorded[Any] | None = None
        self.nest: Nest | None = None
        self.outputs: Mapping[str, Any] = {}
        self.saga: SagaRecord | None = None
        self.spans: list[Span] = []
        self.children: list[Context] = []
        self._events = 0
        self.began = 0.0
        self.took = 0.0

    def next_event(self) -> int:
        """Count the events of one attempt, from 1."""
        self._events += 1
        return self._events

    def begin(self) -> None:
        """Begin a run: the ids of events count anew."""
        self._events = 0
        self.children.clear()

    @property
    def trace_id(self) -> str:
        """Return the id under which the trace is found."""
        return self.correlation

    @property
    def tx(self) -> LineTransaction:
        """Return the command's transaction.

        Raises:
            UsageError: None is open: hooks and saga steps run before it.
        """
        if self.work is None:
            raise UsageError(
                "no transaction is open here: hooks and saga steps run before it begins"
            )
        return self.work

    async def send(self, command: Command, **options: Any) -> Result | None:
        """Run another command inside this one's transaction.

        Args:
            command: The command.
            **options: ``on_error`` (``fail``, ``isolate`` or ``defer``) and ``key``.

        Raises:
            UsageError: No transaction is open.
        """
        if self.nest is None or self.work is None:
            raise UsageError(
                "only handlers inside the transaction can send: return commands, or "
                "send with line.send() outside"
            )
        return await self.nest(command, self, options)

    def __repr__(self) -> str:
        return f"<Context {self.name} {self.command_id}>"
