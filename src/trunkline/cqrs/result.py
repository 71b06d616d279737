"""What a command came to: its events, and what handlers gave back beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from trunkline.cqrs.command import Command, Event
from trunkline.cqrs.told import Told, ToldEvent
from trunkline.cqrs.trace import CommandTrace
from trunkline.errors import UsageError
from trunkline.model.position import Position

if TYPE_CHECKING:
    from trunkline.cqrs.command import Recorded


#: How what a handler gives back joins a result; see :meth:`Result.take`.
Merge = bool | str | Mapping[str, str] | None


class Reply(msgspec.Struct, frozen=True):
    """Be a value that a command gives its sender; yielded or returned beside events.

    Args:
        value: Any JSON value.
    """

    value: Any


class On(msgspec.Struct, frozen=True):
    """Put an event on another aggregate's stream than the command's own.

    Args:
        aggregate: Its type's name, or the state's class.
        id: Which one.
        event: The event.
    """

    aggregate: Any
    id: Any
    event: Event


class Result:
    """Be what a command came to, once it is committed.

    Attributes:
        command_id: The command's id.
        name: Its stored name.
        key: The key it was sent under; its id when none was given.
        events: What it decided and what followed in the same transaction, in order.
        reply: What the deciding function gave back beside events.
        values: What other handlers gave back, by their names.
        data: The same, merged as their settings say.
        attempts: How often it was decided; more than once after a conflict.
        is_repeat: Whether the key had been used, so that this is the first run's result.
        nested: The results of commands that ran inside.
        failures: What went wrong in nested commands that were isolated.
        deferred: The ids of commands that were left to run after the commit.
        context: What was known of it, the times of its steps included; None for a repeat.
    """

    __slots__ = (
        "_events",
        "_positions",
        "attempts",
        "command_id",
        "context",
        "data",
        "deferred",
        "failures",
        "is_repeat",
        "key",
        "name",
        "nested",
        "position",
        "reply",
        "values",
    )

    def __init__(self, command_id: str, name: str, key: str) -> None:
        self.command_id = command_id
        self.name = name
        self.key = key
        self._events: Sequence[Recorded[Any]] = ()
        self._positions: Sequence[int] = ()
        self.reply: Any = None
        self.values: dict[str, Any] = {}
        self.data: dict[str, Any] = {}
        self.attempts = 1
        self.is_repeat = False
        self.nested: list[Result] = []
        self.failures: list[Exception] = []
        self.deferred: list[str] = []
        #: A Context, which knows results and so is not known here by its type.
        self.context: Any = None
        #: Right after its last event; None without events, or before the commit.
        self.position: Position | None = None

    @property
    def events(self) -> Sequence[Recorded[Any]]:
        """Return or set what was decided, each with its position once that is known."""
        if self._positions:
            positions, self._positions = self._positions, ()
            self._events = tuple(
                msgspec.structs.replace(one, position=position)
                for one, position in zip(self._events, positions, strict=True)
            )
        return self._events

    @events.setter
    def events(self, events: Sequence[Recorded[Any]]) -> None:
        self._events = events

    def place(self, positions: Sequence[int]) -> None:
        """Tell the global ids of its events; they are put into them when somebody looks."""
        self._positions = positions

    def take(self, handler: str, value: Any, how: Merge) -> None:
        """Collect what a handler gave back.

        Args:
            handler: Its name.
            value: What it gave back.
            how: True merges its fields, a text puts it under that name, ``{"zip": key}`` joins
                its items to those that are there by a field, ``{"zip": key, "as": name}`` to
                those under a name; None only keeps it in :attr:`values`.

        Raises:
            UsageError: The value has no fields to merge, or no items to join.
        """
        self.values[handler] = value
        if how is None or how is False:
            return
        if isinstance(how, str):
            self.data[how] = value
        elif isinstance(how, Mapping):
            name = how.get("as", "items")
            self.data[name] = _zipped(handler, self.data.get(name), value, how["zip"])
        else:
            self.data.update(_fields(handler, value))

    def told(self) -> Told:
        """Return what a client is told of it."""
        return Told(
            id=self.command_id,
            name=self.name,
            events=tuple(
                ToldEvent(one.id, one.name, one.stream_version, one.position) for one in self.events
            ),
            position=None if self.position is None else str(self.position),
            reply=self.reply,
            data=self.data,
            repeated=self.is_repeat,
        )

    @property
    def trace(self) -> CommandTrace | None:
        """Return what was done and how long it took, as a tree; None for a repeat."""
        return None if self.context is None else CommandTrace.of(self.context, result=self)

    def __repr__(self) -> str:
        names = ", ".join(one.name for one in self.events) or "no events"
        return f"<Result {self.name} {self.command_id}: {names}>"


def _fields(handler: str, value: Any) -> Mapping[str, Any]:
    fields = msgspec.to_builtins(value)
    if not isinstance(fields, dict):
        raise UsageError(f"what {handler} gives back has no fields to merge: {value!r:.80}")
    return fields


def _zipped(handler: str, there: Any, value: Any, key: str) -> list[dict[str, Any]]:
    """Join items by a field; those that meet no other are kept as they are."""
    joined: dict[Any, dict[str, Any]] = {}
    for items in (there or (), value):
        if isinstance(items, (str, bytes, Mapping)) or not isinstance(items, Iterable):
            raise UsageError(f"what {handler} gives back has no items to join: {value!r:.80}")
        for item in items:
            fields = _fields(handler, item)
            if key not in fields:
                raise UsageError(f"an item that {handler} gives back has no {key!r} to join by")
            joined.setdefault(fields[key], {}).update(fields)
    return list(joined.values())


def is_outcome(value: object) -> bool:
    """Tell whether a value is an event, a command or a reply, rather than data."""
    return isinstance(value, (Event, Command, Reply, On))
