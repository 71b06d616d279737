"""What is refused when the line opens: registrations that don't fit together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from trunkline.cqrs.command import Command, Event, stored
from trunkline.cqrs.handler import HOOKS, Handler, Role
from trunkline.cqrs.pattern import NamePattern, name_pattern
from trunkline.cqrs.plan import Plan
from trunkline.errors import ConfigError


def check(plan: Plan) -> None:
    """Refuse registrations that make no sense together.

    Args:
        plan: What was registered.

    Raises:
        ConfigError: A handler hears nothing that exists, takes what it can't get, or strong
            handlers lead from an event to itself.
    """
    commands = [one.kind.kind for one in plan.by_name.values()]
    events = plan.catalog.kinds()
    for handler in plan.handlers.values():
        _check_extras(handler)
        if handler.role is Role.COMMAND:
            _check_command(handler, plan)
        else:
            _check_heard(handler, commands if handler.role in HOOKS else events)
        _check_returns(handler, plan)
    _check_cycles(plan)


def _check_extras(handler: Handler) -> None:
    wants = handler.signature.wants
    if handler.role in HOOKS and wants("tx"):
        raise ConfigError(
            f"the hook {handler.name} wants tx: hooks run before the transaction begins; read "
            "through line.transaction(), or let the deciding function look"
        )
    if handler.role is not Role.COMMAND and wants("state"):
        raise ConfigError(
            f"the {handler.role} {handler.name} wants a state: only deciding functions get one; "
            "annotate tx as LineTransaction, ctx as Context, and parameters of the name plainly"
        )


def _check_command(handler: Handler, plan: Plan) -> None:
    for one in plan.by_name.values():
        if one.handler is handler and not _accepts(handler, one.kind.kind):
            raise ConfigError(
                f"{handler.name} is registered for {one.kind.kind.__name__} and takes another "
                "type: annotate its first parameter with the command's"
            )


def _check_heard(handler: Handler, known: Iterable[type]) -> None:
    for pattern in handler.patterns:
        compiled = name_pattern(pattern, legacy=handler.is_legacy)
        named = [one for one in known if compiled.overlaps(stored(one).pattern)]
        if not named:
            what = "command" if handler.role in HOOKS else "event"
            raise ConfigError(
                f"the {handler.role} {handler.name} hears {pattern!r}, and no {what} has such a "
                f"name: mend the pattern, or {_known_by(what)}"
            )
        if not any(_accepts(handler, one) for one in named):
            raise ConfigError(
                f"the {handler.role} {handler.name} hears {pattern!r}, which is never of the "
                "type that its first parameter is annotated with"
            )


def _known_by(what: str) -> str:
    if what == "event":
        return "make its type known with line.event(…)"
    return "register who decides the command"


def _check_returns(handler: Handler, plan: Plan) -> None:
    for one in handler.signature.returns:
        if not isinstance(one, type):
            continue
        if issubclass(one, Command) and one is not Command and one not in plan.commands:
            raise ConfigError(
                f"{handler.name} says that it sends {one.__name__}, and nobody handles that"
            )
        if handler.role is Role.PROJECTOR and issubclass(one, (Command, Event)):
            raise ConfigError(
                f"the projector {handler.name} says that it gives back {one.__name__}: let a "
                "dispatcher derive events, and a processor send commands"
            )


def _accepts(handler: Handler, kind: type) -> bool:
    accepted = handler.signature.subject
    return not isinstance(accepted, tuple) or any(
        issubclass(kind, one) or issubclass(one, kind) for one in accepted
    )


# -- cycles ---------------------------------------------------------------------------------------


def _check_cycles(plan: Plan) -> None:
    """Refuse strong handlers that lead from an event to itself, as far as annotations say so."""
    leads = {kind: dict(_next(plan, kind)) for kind in plan.catalog.kinds()}
    for kind in leads:
        way = _way_back(leads, kind)
        if way is not None:
            raise ConfigError(
                f"strong handlers lead from {stored(kind).name!r} back to itself, by way of "
                f"{' → '.join(way)}: make one of them eventual"
            )


def _next(plan: Plan, kind: type) -> Iterator[tuple[type, str]]:
    """Yield the events that an event leads to at once, and who leads there."""
    name: NamePattern = stored(kind).pattern
    for handler in plan.handlers.values():
        if not (handler.enabled and handler.is_strong and _accepts(handler, kind)):
            continue
        if handler.role not in {Role.DISPATCHER, Role.PROCESSOR}:
            continue
        patterns = (name_pattern(one, legacy=handler.is_legacy) for one in handler.patterns)
        if any(one.overlaps(name) for one in patterns):
            for reached in _reached(plan, handler):
                yield reached, handler.name


def _reached(plan: Plan, handler: Handler) -> Iterator[type]:
    for one in _types(handler.signature.returns):
        if issubclass(one, Event):
            yield one
        elif one in plan.commands and handler.on_error != "defer":
            decided = plan.commands[one].handler.signature.returns
            yield from (kind for kind in _types(decided) if issubclass(kind, Event))


def _types(found: Iterable[Any]) -> Iterator[type]:
    return (one for one in found if isinstance(one, type))


def _way_back(leads: dict[type, dict[type, str]], start: type) -> list[str] | None:
    """Return who leads from an event back to itself, or None."""
    waiting: list[tuple[type, list[str]]] = [(start, [])]
    seen: set[type] = set()
    while waiting:
        kind, way = waiting.pop()
        for reached, who in leads.get(kind, {}).items():
            if reached is start:
                return [*way, who]
            if reached not in seen:
                seen.add(reached)
                waiting.append((reached, [*way, who]))
    return None
