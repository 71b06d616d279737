"""Aggregates: a stream of events each, and the state that they add up to."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec

from trunkline.cqrs.command import Event
from trunkline.cqrs.signature import annotated
from trunkline.errors import ConfigError, GrammarError
from trunkline.model.channel import STREAM_PREFIX, ChannelKey, check_name

S = TypeVar("S")
_WORD = re.compile(r"[A-Za-z0-9_.-]+\Z")
_PLAIN = re.compile(r"[A-Za-z0-9_.~@!,;=+ -]+\Z")


class Evolver:
    """Be a function that says how an event changes a state.

    Args:
        function: ``(state, event) -> state``.
        states: The types of state it takes.
        events: The types of event it takes.
    """

    def __init__(
        self,
        function: Callable[[Any, Any], Any],
        states: tuple[type, ...],
        events: tuple[type, ...],
    ) -> None:
        self.function = function
        self.states = states
        self.events = events

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Evolver:
        """Read a function's annotations.

        Raises:
            ConfigError: They don't say which state and which events.
        """
        name = getattr(function, "__qualname__", repr(function))
        hints = annotated(function)
        if len(hints) != 2:
            raise ConfigError(f"{name} takes a state and an event: (state, event) -> state")
        states = tuple(one for one in hints[0] if one is not type(None))
        events = tuple(hints[1])
        if not states or not events or not all(isinstance(one, type) for one in states + events):
            raise ConfigError(f"{name} must annotate its state and its event with types")
        if wrong := [one for one in events if not issubclass(one, Event)]:
            raise ConfigError(f"{name} takes {wrong[0].__qualname__}, which is no event")
        return cls(function, states, events)


class Aggregate(Generic[S]):
    """Be a kind of aggregate.

    Args:
        name: The type's part of a stream's name.
        state: The type of its state.
        id_field: The field of commands that has its id.
        snapshot_every: Events between two snapshots; None for none.
        snapshot_version: The version of the state's type.
    """

    def __init__(
        self,
        name: str,
        state: type[S],
        id_field: str,
        *,
        snapshot_every: int | None = None,
        snapshot_version: int = 1,
    ) -> None:
        if not _WORD.match(name):
            raise ConfigError(f"an aggregate's name is letters, digits, _ . and -: not {name!r}")
        self.name = name
        self.state = state
        self.id_field = id_field
        self.snapshot_every = snapshot_every
        self.snapshot_version = snapshot_version
        self.evolvers: dict[type, Callable[[S | None, Any], S | None]] = {}
        #: A state that can be changed in place may be kept by nobody.
        self.is_immutable = _is_immutable(state)

    def stream(self, ident: object, site_id: str | None) -> ChannelKey:
        """Return the channel of one aggregate.

        Args:
            ident: Which one; its text counts.
            site_id: The tenant.

        Raises:
            GrammarError: The id is empty or too long.
        """
        return stream_of(self.name, str(ident), site_id)

    def fold(self, state: S | None, events: Iterable[Any]) -> S | None:
        """Return the state after some events."""
        evolvers = self.evolvers
        for event in events:
            evolver = evolvers.get(type(event))
            if evolver is not None:
                state = evolver(state, event)
        return state

    def stored(self, epoch: str, state: S | None) -> bytes:
        """Return a state as snapshots keep it: with the line's epoch that its version is of."""
        return msgspec.json.encode((epoch, state))

    def restored(
        self,
        format: int,  # noqa: A002 - the column's name
        data: bytes,
    ) -> tuple[str, S] | None:
        """Return a snapshot's epoch and state, or None for one of another version of its type."""
        if format != self.snapshot_version:
            return None
        try:
            epoch, state = msgspec.json.decode(data, type=tuple[str, msgspec.Raw])
            return epoch, msgspec.json.decode(state, type=self.state)
        except msgspec.MsgspecError:
            return None  # the events say it all, too; so it is for one without an epoch

    def __repr__(self) -> str:
        return f"<Aggregate {self.name}>"


@lru_cache(maxsize=16_384)
def stream_of(name: str, ident: str, site_id: str | None) -> ChannelKey:
    """Return the channel of an aggregate; what channel names can't have is escaped.

    Args:
        name: The aggregate's type.
        ident: Which one.
        site_id: The tenant.

    Raises:
        GrammarError: The id is empty or too long.
    """
    if not ident:
        raise GrammarError(f"an aggregate of type {name} needs an id that is not empty")
    escaped = ident if _PLAIN.match(ident) else quote(ident, safe="@!,;=+ ")
    return ChannelKey(check_name(f"{STREAM_PREFIX}{name}/{escaped}"), site_id)


def _is_immutable(state: type) -> bool:
    if issubclass(state, msgspec.Struct):
        return bool(state.__struct_config__.frozen)
    if dataclasses.is_dataclass(state):
        return bool(state.__dataclass_params__.frozen)  # type: ignore[attr-defined]
    return issubclass(state, (tuple, str, int, float, frozenset))
