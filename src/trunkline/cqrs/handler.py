"""Handlers: functions with a role, what they hear, and the settings that may override them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, Protocol, TypedDict

from trunkline.channels.transaction import LineTransaction
from trunkline.cqrs.command import Command, Event, Recorded
from trunkline.cqrs.context import Context
from trunkline.cqrs.naming import Naming, tables_of
from trunkline.cqrs.pattern import name_pattern
from trunkline.cqrs.signature import Signature
from trunkline.errors import ConfigError

PRIORITY: Final = 255
STRONG: Final = "strong"
EVENTUAL: Final = "eventual"
FAIL: Final = "fail"
ISOLATE: Final = "isolate"
DEFER: Final = "defer"
#: What a domain hears that hears all of them.
ALL_DOMAINS: Final = "*"
#: What the line's own domain is called.
DEFAULT_DOMAIN: Final = "main"

#: Annotations that say what a parameter is, beside its name.
BY_TYPE: Final[Mapping[type, str]] = {LineTransaction: "tx", Context: "ctx", Recorded: "recorded"}


class Role(StrEnum):
    """Say what a handler is for."""

    COMMAND = "command"
    BEFORE = "before"
    AFTER = "after"
    PROJECTOR = "projector"
    DISPATCHER = "dispatcher"
    PROCESSOR = "processor"
    CHANNEL = "channel"


#: Among handlers of one priority: read models first, then derived events, then commands.
PHASES: Final = {Role.PROJECTOR: 0, Role.DISPATCHER: 1, Role.PROCESSOR: 2, Role.CHANNEL: 3}
HOOKS: Final = frozenset({Role.BEFORE, Role.AFTER})


class Home(Protocol):
    """Be the domain of a handler, as far as handlers know of it."""

    name: str
    trace: bool
    legacy_wildcards: bool


class HandlerOptions(TypedDict, total=False):
    """Be the options of a handler; settings may override the first four by its name.

    Attributes:
        priority: The lower runs first; 255 if not given.
        consistency: ``strong`` (in the command's transaction) or ``eventual`` (from the log).
        retry: How an eventual handler is retried.
        enabled: Whether it runs at all.
        name: Names it; the function's name if not given.
        domains: Whose events it hears beside its own domain's; ``*`` for all.
        on_error: What a failing nested command does: ``fail``, ``isolate`` or ``defer``.
        merge: How what it gives back joins the result, see ``Result.take``.
        version: Of a projection, so that it can be rebuilt beside the running one.
        key: The field by which an eventual handler keeps order.
        legacy_wildcards: Read ``*`` as spool-broadcast does.
        start: Where an eventual handler begins the first time: ``oldest`` (the default) or
            ``now``.
        tables: Of a projection: the statements that make each table, by its name, with
            ``{name}`` for it; so does the projector name it in its own statements.
        extra: What other rooms of the wing want to know.
    """

    priority: int
    consistency: str
    retry: Any
    enabled: bool
    name: str
    domains: str | Sequence[str]
    on_error: str
    merge: bool | str | Mapping[str, str] | None
    version: int
    key: Any
    legacy_wildcards: bool
    start: str
    tables: Mapping[str, str | Sequence[str]]
    extra: Mapping[str, Any]


_OVERRIDES: Final = ("priority", "consistency", "retry", "enabled")


class Handler:
    """Be a function with a role.

    Args:
        role: What it is for.
        function: The function.
        domain: Whose it is.
        patterns: What it hears.
        options: As it was registered.

    Attributes:
        name: Its domain's name and its own, with a dot between; unique on the line.
        order: The number of its registration.
    """

    def __init__(
        self,
        role: Role,
        function: Callable[..., Any],
        domain: Home,
        patterns: Sequence[str],
        options: HandlerOptions,
    ) -> None:
        self.role = role
        self.function = function
        self.domain = domain
        self.patterns = tuple(patterns)
        own = options.get("name") or getattr(function, "__name__", type(function).__name__)
        self.name = f"{domain.name}.{own}"
        self.signature = Signature.of(function, by_type=BY_TYPE, any_of=(Command, Event))
        self.priority: int = options.get("priority", PRIORITY)
        self.consistency: str = options.get("consistency", STRONG)
        self.retry: Any = options.get("retry")
        self.enabled: bool = options.get("enabled", True)
        self.on_error: str = options.get("on_error", FAIL)
        self.merge = options.get("merge")
        self.version: int = options.get("version", 1)
        self.key: Any = options.get("key")
        self.is_legacy: bool = options.get("legacy_wildcards", domain.legacy_wildcards)
        self.start: str = options.get("start", "oldest")
        self.tables = tables_of(self.name, options.get("tables", {}))
        #: Fills in the names of the tables that readers see.
        self.naming = Naming.live(self.tables) if self.tables else None
        self.extra: Mapping[str, Any] = options.get("extra", {})
        heard = options.get("domains", ())
        self.domains = frozenset([heard] if isinstance(heard, str) else heard) | {domain.name}
        self.order = 0
        for pattern in self.patterns:
            self.signature.check_pattern(name_pattern(pattern, legacy=self.is_legacy))
        self._check()

    def _check(self) -> None:
        if self.consistency not in {STRONG, EVENTUAL}:
            raise ConfigError(
                f"{self.name}: consistency is 'strong' or 'eventual', not {self.consistency!r}"
            )
        if self.on_error not in {FAIL, ISOLATE, DEFER}:
            raise ConfigError(
                f"{self.name}: on_error is 'fail', 'isolate' or 'defer', not {self.on_error!r}"
            )

    def override(self, settings: Mapping[str, Any]) -> None:
        """Apply what settings say about it.

        Raises:
            ConfigError: They say what can't be set.
        """
        for name, value in settings.items():
            if name not in _OVERRIDES:
                raise ConfigError(
                    f"settings for {self.name} can have {', '.join(_OVERRIDES)}, not {name!r}"
                )
            setattr(self, name, value)
        self._check()

    @property
    def is_strong(self) -> bool:
        """Tell whether it runs inside the command's transaction."""
        return self.consistency == STRONG

    @property
    def rank(self) -> tuple[int, int, int]:
        """Return its place among strong handlers of one event: priority, phase, registration."""
        return (self.priority, PHASES.get(self.role, 9), self.order)

    def hears_domain(self, name: str) -> bool:
        """Tell whether it hears a domain's commands and events."""
        return name in self.domains or ALL_DOMAINS in self.domains

    def __repr__(self) -> str:
        return f"<{self.role} {self.name} {' '.join(self.patterns)}>"
