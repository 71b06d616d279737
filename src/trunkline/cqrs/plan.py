"""The plan: what was registered, compiled and checked once, when the line opens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from trunkline.cqrs.aggregate import Aggregate
from trunkline.cqrs.catalog import Catalog
from trunkline.cqrs.command import Recorded, Stored, stored
from trunkline.cqrs.domain import CommandOptions, Domain
from trunkline.cqrs.errors import InvalidCommandError, UnknownCommandError
from trunkline.cqrs.handler import HOOKS, Handler, Role
from trunkline.cqrs.pattern import Params
from trunkline.cqrs.router import Router
from trunkline.errors import ConfigError

_encoder = msgspec.json.Encoder()
#: Names whose handlers are remembered.
REMEMBERED = 4096


class Heard(NamedTuple):
    """Be a handler with what its pattern captured."""

    handler: Handler
    params: Params


class CommandPlan:
    """Be all that a kind of command runs through.

    Args:
        kind: The stored type.
        handler: Who decides.
        options: What its registration said.
        aggregate: Whose events it decides; None for a command that stands alone.
        view: Makes the state of a dynamic boundary.
    """

    def __init__(
        self,
        kind: Stored,
        handler: Handler,
        options: CommandOptions,
        aggregate: Aggregate[Any] | None,
        view: Aggregate[Any] | None,
    ) -> None:
        self.kind = kind
        self.name = kind.name
        self.handler = handler
        self.domain = handler.domain
        self.aggregate = aggregate
        self.id_field = options.id or (aggregate.id_field if aggregate else None)
        self.view = view
        self.boundary: Callable[..., Any] | None = options.boundary
        self.max_attempts = options.max_attempts
        self.before: Sequence[Heard] = ()
        self.after: Sequence[Heard] = ()
        self._check()

    def _check(self) -> None:
        field = self.id_field
        if self.aggregate is not None and field not in self.kind.kind.__struct_fields__:
            raise ConfigError(
                f"{self.name!r} has no field {field!r} with the id of its {self.aggregate.name}: "
                "say id= where its handler is registered"
            )

    def validated(self, command: Any) -> Any:
        """Return a command whose fields are of their types.

        Raises:
            InvalidCommandError: They are not.
        """
        try:
            return self.kind.decoder.decode(_encoder.encode(command))
        except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
            raise InvalidCommandError(f"{self.name}: {error}") from error

    def decoded(self, text: bytes | str) -> Any:
        """Return a command from JSON.

        Raises:
            InvalidCommandError: Its fields don't fit.
        """
        try:
            return self.kind.decoder.decode(text)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise InvalidCommandError(f"{self.name}: {error}") from error


class Plan:
    """Be what was registered, compiled.

    Args:
        domains: All of them.
        settings: By handler's full name, over what domains say.

    Raises:
        ConfigError: Something doesn't fit together; the message says what.
    """

    def __init__(
        self, domains: Iterable[Domain], settings: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        self.domains = {one.name: one for one in domains}
        self.aggregates: dict[type, Aggregate[Any]] = {}
        #: States of dynamic boundaries that are no aggregates.
        self._views: dict[type, Aggregate[Any]] = {}
        self.commands: dict[type, CommandPlan] = {}
        self.by_name: dict[str, CommandPlan] = {}
        self.handlers: dict[str, Handler] = {}
        self.events: Router[Handler] = Router()
        self.hooks: Router[Handler] = Router()
        self.catalog = Catalog()
        self._strong: dict[tuple[str, str, type], list[Heard]] = {}
        self._gather(settings or {})

    # -- compiling ----------------------------------------------------------------------------

    def _gather(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        for domain in self.domains.values():
            for kind in domain.events:
                self.catalog.add(kind)
            for kind, aggregate in domain.aggregates.items():
                self._add_aggregate(kind, aggregate)
            for handler in domain.handlers:
                handler.order = len(self.handlers)
                self.handlers[handler.name] = handler
        self._override(settings)
        self._make_views()
        self._evolve()
        for handler in self.handlers.values():
            self._route(handler)
        for domain in self.domains.values():
            for command, (handler, options) in domain.commands.items():
                self._add_command(stored(command), handler, options)

    def _add_aggregate(self, kind: type, aggregate: Aggregate[Any]) -> None:
        if any(one.name == aggregate.name for one in self.aggregates.values()):
            raise ConfigError(f"two aggregates are called {aggregate.name!r}: rename one")
        aggregate.evolvers.clear()
        self.aggregates[kind] = aggregate

    def _override(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        for domain in self.domains.values():
            for name, said in domain.settings.items():
                self._handler(f"{domain.name}.{name}", "settings").override(said)
        for name, said in settings.items():
            self._handler(name, "settings").override(said)

    def _handler(self, name: str, what: str) -> Handler:
        if name not in self.handlers:
            raise ConfigError(
                f"{what} name the handler {name!r}, and there is none: "
                f"there are {', '.join(sorted(self.handlers)) or 'no handlers'}"
            )
        return self.handlers[name]

    def _make_views(self) -> None:
        for domain in self.domains.values():
            for handler, options in domain.commands.values():
                state = options.aggregate or handler.signature.state_type
                if options.boundary and state is not None and state not in self.aggregates:
                    self._views[state] = Aggregate("boundary", state, "")

    def _evolve(self) -> None:
        for domain in self.domains.values():
            for evolver in domain.evolvers:
                for kind in evolver.events:
                    self.catalog.add(kind)
                for state in evolver.states:
                    aggregate = self._views.get(state) or self.aggregate_of(state)
                    for kind in evolver.events:
                        if kind in aggregate.evolvers:
                            raise ConfigError(
                                f"{aggregate.name}: two functions evolve {kind.__qualname__}"
                            )
                        aggregate.evolvers[kind] = evolver.function

    def aggregate_of(self, state: Any) -> Aggregate[Any]:
        """Return an aggregate by its state's type, or by its name.

        Raises:
            ConfigError: It is not declared.
        """
        for kind, aggregate in self.aggregates.items():
            if state is kind or state == aggregate.name:
                return aggregate
        named = getattr(state, "__qualname__", state)
        raise ConfigError(f"{named} is no aggregate: decorate it with @line.aggregate(id=…)")

    def _route(self, handler: Handler) -> None:
        if not handler.enabled or handler.role is Role.COMMAND:
            return
        router = self.hooks if handler.role in HOOKS else self.events
        for pattern in handler.patterns:
            router.add(pattern, handler, priority=handler.priority, legacy=handler.is_legacy)

    def _add_command(self, kind: Stored, handler: Handler, options: CommandOptions) -> None:
        if kind.name in self.by_name:
            raise ConfigError(
                f"the command {kind.name!r} is handled by {self.by_name[kind.name].handler.name} "
                f"and by {handler.name}: it can have one handler"
            )
        state = options.aggregate or handler.signature.state_type
        aggregate = view = None
        if state is not None and options.boundary is not None:
            view = self._views.get(state) or self.aggregate_of(state)
        elif state is not None:
            aggregate = self.aggregate_of(state)
        plan = CommandPlan(kind, handler, options, aggregate, view)
        plan.before = self._hooks_of(plan, Role.BEFORE)
        plan.after = self._hooks_of(plan, Role.AFTER)
        self.commands[kind.kind] = plan
        self.by_name[kind.name] = plan

    def _hooks_of(self, plan: CommandPlan, role: Role) -> list[Heard]:
        found = [
            Heard(match.value, match.params)
            for match in self.hooks.match(plan.name)
            if match.value.role is role
            and match.value.hears_domain(plan.domain.name)
            and _takes(match.value, plan.kind.kind)
        ]
        return sorted(found, key=lambda one: (one.handler.priority, one.handler.order))

    # -- asking -------------------------------------------------------------------------------

    def command(self, kind: type) -> CommandPlan:
        """Return what a command runs through.

        Raises:
            UnknownCommandError: Nobody handles it.
        """
        plan = self.commands.get(kind)
        if plan is None:
            raise UnknownCommandError(
                f"nobody handles {kind.__qualname__}: register @line.command({kind.__name__}) "
                "before the line opens"
            )
        return plan

    def named(self, name: str) -> CommandPlan:
        """Return what a command runs through, by its stored name.

        Raises:
            UnknownCommandError: Nobody handles it.
        """
        plan = self.by_name.get(name)
        if plan is None:
            raise UnknownCommandError(f"nobody handles a command called {name!r}")
        return plan

    def strong(self, event: Recorded[Any]) -> list[Heard]:
        """Return who hears an event inside its transaction, in the order to call them."""
        kind, domain = type(event.event), event.headers.domain
        key = (event.name, domain, kind)
        found = self._strong.get(key)
        if found is None:
            found = sorted(self._listening(event.name, domain, kind), key=_rank)
            if len(self._strong) >= REMEMBERED:
                self._strong.clear()
            self._strong[key] = found
        return found

    def _listening(self, name: str, domain: str, kind: type) -> Iterable[Heard]:
        for match in self.events.match(name):
            handler = match.value
            if handler.is_strong and handler.hears_domain(domain) and _takes(handler, kind):
                yield Heard(handler, match.params)


def _takes(handler: Handler, kind: type) -> bool:
    subject = handler.signature.subject
    return not isinstance(subject, tuple) or issubclass(kind, subject)


def _rank(heard: Heard) -> tuple[int, int, int]:
    return heard.handler.rank
