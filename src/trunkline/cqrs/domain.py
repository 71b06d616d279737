"""Domains: named groups of commands and their handlers, registered by decorators.

Nothing is checked against anything else here: the whole is checked when the line opens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from trunkline.cqrs.aggregate import Aggregate, Evolver
from trunkline.cqrs.command import Event, stored
from trunkline.cqrs.handler import DEFAULT_DOMAIN, Handler, HandlerOptions, Role
from trunkline.errors import ConfigError

if TYPE_CHECKING:
    from trunkline.cqrs.channel_options import ChannelOptions

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=type)

#: A pattern, a type whose name is one, or nothing for what the annotation says.
Subject = str | type


class Domain:
    """Be a named group of commands and handlers; its handlers hear its own events.

    Args:
        name: Names it, in stored headers too.
        trace: Keep every trace of its commands.
        legacy_wildcards: Read ``*`` in its patterns as spool-broadcast does.
        handlers: Settings by handler's name: priority, consistency, retry, enabled.

    Attributes:
        handlers: All that were registered, in order.
        aggregates: By the type of their state.
        revision: Raised by every registration.
    """

    def __init__(
        self,
        name: str = DEFAULT_DOMAIN,
        *,
        trace: bool = False,
        legacy_wildcards: bool = False,
        handlers: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        if not name or "." in name or name == "*":
            raise ConfigError(f"a domain's name is a word without dots, not {name!r}")
        self.name = name
        self.trace = trace
        self.legacy_wildcards = legacy_wildcards
        self.settings: dict[str, Mapping[str, Any]] = dict(handlers or {})
        self.handlers: list[Handler] = []
        self.commands: dict[type, tuple[Handler, CommandOptions]] = {}
        self.aggregates: dict[type, Aggregate[Any]] = {}
        self.events: set[type[Event]] = set()
        self.evolvers: list[Evolver] = []
        self.revision = 0

    # -- commands -----------------------------------------------------------------------------

    def command(
        self,
        kind: type,
        *,
        name: str | None = None,
        aggregate: type | None = None,
        id: str | None = None,  # noqa: A002 - the word an application says
        boundary: Callable[..., Any] | None = None,
        max_attempts: int = 5,
    ) -> Callable[[F], F]:
        """Declare the function that decides what a command comes to.

        It takes the command and, as it wishes, the state of the aggregate (``test: Test |
        None``), ``ctx`` and ``tx``; it yields or returns events. It may run several times, when
        others write to the same aggregate meanwhile: let it only decide.

        Args:
            kind: The command's type. A function that takes a list of them decides batches.
            name: Names the handler; the function's name if not given.
            aggregate: The type of the state, where no parameter says it.
            id: The command's field with the aggregate's id; the aggregate's own if not given.
            boundary: Takes the command and returns the :class:`Query` whose events make the
                state; the command is stored only if no other such event came meanwhile.
            max_attempts: How often it is decided at most when others are quicker.

        Raises:
            ConfigError: The command has a handler already, or the function doesn't fit.
        """

        def register(function: F) -> F:
            if kind in self.commands:
                raise ConfigError(
                    f"{stored(kind).name!r} is handled by {self.commands[kind][0].name} already"
                )
            options: HandlerOptions = {"name": name} if name else {}
            handler = self._add(Role.COMMAND, function, [stored(kind).name], options)
            self.commands[kind] = (
                handler,
                CommandOptions(aggregate, id, boundary, max_attempts),
            )
            return function

        return register

    def aggregate(
        self,
        name: str | None = None,
        *,
        id: str,  # noqa: A002 - the word an application says
        snapshot_every: int | None = None,
        snapshot_version: int = 1,
    ) -> Callable[[C], C]:
        """Declare the type of an aggregate's state; decorates the class.

        Args:
            name: Its type's name in streams; the class's in lower case if not given.
            id: The field of commands that has its id.
            snapshot_every: Store the state after so many events; None for never.
            snapshot_version: Raise it when the state's type changes: older snapshots are left.

        Raises:
            ConfigError: It is declared already.
        """

        def register(kind: C) -> C:
            if kind in self.aggregates:
                raise ConfigError(f"the aggregate {kind.__qualname__} is declared twice")
            self.aggregates[kind] = Aggregate(
                name or kind.__name__.lower(),
                kind,
                id,
                snapshot_every=snapshot_every,
                snapshot_version=snapshot_version,
            )
            self.revision += 1
            return kind

        return register

    def evolve(self, function: F) -> F:
        """Declare how an event changes a state; decorates ``(state, event) -> state``.

        The annotations say which state and which events. It makes a new state and leaves the old
        one as it is.

        Raises:
            ConfigError: The annotations don't say so.
        """
        self.evolvers.append(Evolver.of(function))
        self.revision += 1
        return function

    def event(self, *kinds: type[Event]) -> None:
        """Make event types known that no handler names, so that stored ones can be read."""
        self.events.update(kinds)
        self.revision += 1

    # -- hooks --------------------------------------------------------------------------------

    def before(self, *patterns: Subject, **options: Unpack[HandlerOptions]) -> Callable[[F], F]:
        """Declare a hook that runs before a command's saga steps.

        It returns None to let the command pass, a changed command, or raises to refuse it.

        Args:
            *patterns: Which commands, by name.
            **options: See :class:`HandlerOptions`.
        """
        return self.register(Role.BEFORE, patterns, options)

    def after(self, *patterns: Subject, **options: Unpack[HandlerOptions]) -> Callable[[F], F]:
        """Declare a hook that runs after a command's saga steps, and before its transaction.

        Args:
            *patterns: Which commands, by name.
            **options: See :class:`HandlerOptions`.
        """
        return self.register(Role.AFTER, patterns, options)

    # -- those who hear events ----------------------------------------------------------------

    def projector(self, *subjects: Subject, **options: Unpack[HandlerOptions]) -> Callable[[F], F]:
        """Declare a function that keeps a read model: it takes an event and writes through tx.

        Args:
            *subjects: Which events: patterns of names, or types; if not given, the types that
                the function's annotation says.
            **options: See :class:`HandlerOptions`.
        """
        return self.register(Role.PROJECTOR, subjects, options)

    def dispatcher(self, *subjects: Subject, **options: Unpack[HandlerOptions]) -> Callable[[F], F]:
        """Declare a function that derives events from an event, with it as their cause.

        Args:
            *subjects: As for :meth:`projector`.
            **options: See :class:`HandlerOptions`.
        """
        return self.register(Role.DISPATCHER, subjects, options)

    def processor(self, *subjects: Subject, **options: Unpack[HandlerOptions]) -> Callable[[F], F]:
        """Declare a function that answers an event with commands, which it returns or yields.

        Args:
            *subjects: As for :meth:`projector`.
            **options: See :class:`HandlerOptions`.
        """
        return self.register(Role.PROCESSOR, subjects, options)

    def channel(self, *subjects: Subject, **options: Unpack[ChannelOptions]) -> Callable[[F], F]:
        """Declare what sockets are told of events, after their commit.

        The function takes an event and returns the message's data, a :class:`Push` to tell only
        some, or None to tell nobody. Clients join the channel by its name or by a pattern, where
        ``access=`` lets them.

        Args:
            *subjects: As for :meth:`projector`.
            **options: See :class:`ChannelOptions`.

        Raises:
            ConfigError: An option makes no sense.
        """
        from trunkline.cqrs.channel_options import handler_options

        chosen: Any = handler_options(options)
        return self.register(Role.CHANNEL, subjects, chosen)

    def register(
        self, role: Role, subjects: Sequence[Subject], options: HandlerOptions
    ) -> Callable[[F], F]:
        """Register a handler of any role, as a decorator.

        Args:
            role: What it is for.
            subjects: Patterns or types.
            options: See :class:`HandlerOptions`.
        """

        def decorate(function: F) -> F:
            patterns = [one if isinstance(one, str) else stored(one).name for one in subjects]
            self.events.update(
                one for one in subjects if isinstance(one, type) and issubclass(one, Event)
            )
            self._add(role, function, patterns, options)
            return function

        return decorate

    def _know(self, handler: Handler) -> None:
        """Make the event types known that a handler's annotations name."""
        accepted = handler.signature.subject
        named = accepted if isinstance(accepted, tuple) else ()
        self.events.update(
            one
            for one in (*named, *handler.signature.returns)
            if isinstance(one, type) and issubclass(one, Event) and one is not Event
        )

    def _add(
        self, role: Role, function: Callable[..., Any], patterns: list[str], options: HandlerOptions
    ) -> Handler:
        handler = Handler(role, function, self, patterns, options)
        self._know(handler)
        accepted = handler.signature.subject
        if isinstance(accepted, tuple):
            if not patterns:
                handler.patterns = tuple(stored(one).name for one in accepted)
        elif not patterns:
            raise ConfigError(
                f"{handler.name} says neither by a pattern nor by its annotation what it hears"
            )
        if any(one.name == handler.name for one in self.handlers):
            raise ConfigError(f"two handlers are called {handler.name!r}: give one of them name=")
        self.handlers.append(handler)
        self.revision += 1
        return handler

    def __repr__(self) -> str:
        return f"<Domain {self.name}: {len(self.handlers)} handlers>"


class CommandOptions:
    """Be what a command's registration said beside its function.

    Args:
        aggregate: The type of the state.
        id: The field with its id.
        boundary: Makes the query of a dynamic boundary.
        max_attempts: How often it is decided at most.
    """

    __slots__ = ("aggregate", "boundary", "id", "max_attempts")

    def __init__(
        self,
        aggregate: type | None,
        id: str | None,  # noqa: A002 - as it is registered
        boundary: Callable[..., Any] | None,
        max_attempts: int,
    ) -> None:
        self.aggregate = aggregate
        self.id = id
        self.boundary = boundary
        self.max_attempts = max_attempts
