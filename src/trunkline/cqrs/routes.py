"""The table of routes: who hears what, in the order in which it is heard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, overload

import msgspec

from trunkline.cqrs.handler import Handler, Role
from trunkline.cqrs.pattern import name_pattern
from trunkline.cqrs.router import Route

_HEADINGS: Final = ("pattern", "role", "handler", "takes", "when", "priority", "hears")


class RouteRow(msgspec.Struct, frozen=True, kw_only=True):
    """Be one line of the table.

    Args:
        pattern: What is heard.
        role: What the handler is for.
        handler: Its name.
        takes: The types it accepts, ``any``, and ``[…]`` for lists.
        consistency: ``strong`` or ``eventual``; hooks and commands are strong.
        priority: The lower goes first.
        domains: Whose names it hears; ``*`` for all.
        enabled: Whether it runs at all.
        version: Of a projection.
        wants: The parameters it takes beside its subject.
    """

    pattern: str
    role: str
    handler: str
    takes: str
    consistency: str
    priority: int
    domains: tuple[str, ...]
    enabled: bool
    version: int
    wants: tuple[str, ...]

    def cells(self) -> tuple[str, ...]:
        """Return what a person reads."""
        when = self.consistency if self.enabled else "off"
        return (
            self.pattern,
            self.role,
            self.handler if self.version == 1 else f"{self.handler} (version {self.version})",
            self.takes,
            when,
            str(self.priority),
            ", ".join(self.domains),
        )


class RouteTable(Sequence[RouteRow]):
    """Be all routes; its text is the table.

    Args:
        rows: In the order in which names are heard.
    """

    def __init__(self, rows: Iterable[RouteRow]) -> None:
        self._rows = tuple(rows)

    @overload
    def __getitem__(self, index: int) -> RouteRow: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[RouteRow]: ...

    def __getitem__(self, index: int | slice) -> RouteRow | Sequence[RouteRow]:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[RouteRow]:
        return iter(self._rows)

    def __str__(self) -> str:
        lines = [_HEADINGS, *(row.cells() for row in self._rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )


def route_table(handlers: Iterable[Handler]) -> RouteTable:
    """Return the table of some handlers: commands, hooks, then those who hear events.

    Args:
        handlers: In the order of their registration.
    """
    routes = [
        Route(name_pattern(pattern, legacy=handler.is_legacy), handler, handler.priority, order)
        for order, handler in enumerate(handlers)
        for pattern in handler.patterns
    ]
    routes.sort(key=lambda route: (_PARTS.index(_part(route.value)), *route.sort_key))
    return RouteTable(_row(route) for route in routes)


_PARTS: Final = ("command", "before", "after", "event")


def _part(handler: Handler) -> str:
    return handler.role.value if handler.role in _SILENT else "event"


_SILENT: Final = frozenset({Role.COMMAND, Role.BEFORE, Role.AFTER})


def _row(route: Route[Handler]) -> RouteRow:
    handler = route.value
    return RouteRow(
        pattern=route.pattern.text,
        role=handler.role.value,
        handler=handler.name,
        takes=_takes(handler),
        consistency=handler.consistency,
        priority=handler.priority,
        domains=tuple(sorted(handler.domains)),
        enabled=handler.enabled,
        version=handler.version,
        wants=tuple(extra.name for extra in handler.signature.extras),
    )


def _takes(handler: Handler) -> str:
    subject: Any = handler.signature.subject
    text = " | ".join(one.__name__ for one in subject) if isinstance(subject, tuple) else "any"
    return f"[{text}]" if handler.signature.is_batch else text
