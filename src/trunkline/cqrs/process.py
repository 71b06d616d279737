"""Process managers: begun, carried on and ended by events, with a state and timers of their own.

Each reaction is a plain function of state and event. What it wants (commands, timers, an end) is
gathered in a :class:`Move` and committed with the new state and the event's checkpoint, in one
transaction: each event moves an instance exactly once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from trunkline.cqrs.command import Command, Event, Recorded, stored
from trunkline.cqrs.router import Router
from trunkline.cqrs.saga_errors import StepGoneError
from trunkline.errors import ConfigError, UsageError
from trunkline.store.process_table import ProcessRecord, ProcessStatus

F = TypeVar("F", bound=Callable[..., Any])
S = TypeVar("S")
Migration = Callable[[dict[str, Any]], dict[str, Any]]
Correlate = str | Callable[[Any], Any]

#: The timer that a deadline is.
DEADLINE: Final = "deadline"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}\Z")


class Move:
    """Gather what a reaction wants to happen, all of it committed with the new state.

    Args:
        correlation: The instance's.
        now: Unix seconds.
        data: What a timer was set with; None for an event.

    Attributes:
        commands: To be sent, in order.
        timers: Seconds and data by name; None for one that shall not go off.
        is_over: Whether the instance ends.
    """

    def __init__(self, correlation: str, now: float, data: Any = None) -> None:
        self.correlation = correlation
        self.now = now
        self.data = data
        self.commands: list[Command] = []
        self.timers: dict[str, tuple[float, Any] | None] = {}
        self.is_over = False

    def send(self, *commands: Command) -> None:
        """Have commands run after the commit, each exactly once."""
        self.commands += commands

    def timer(self, name: str, seconds: float, data: Any = None) -> None:
        """Have a timer go off after a while, in place of one of this name.

        Args:
            name: Of a reaction declared with ``@process.timer(name)``.
            seconds: From now.
            data: Any JSON value that it gets as ``move.data``.

        Raises:
            UsageError: The seconds are none.
        """
        if not seconds >= 0:
            raise UsageError(f"a timer goes off in 0 or more seconds, not {seconds!r}")
        self.timers[name] = (seconds, data)

    def cancel(self, name: str) -> None:
        """Have a timer not go off, if there is one."""
        self.timers[name] = None

    def end(self) -> None:
        """End the instance; its timers don't go off any more."""
        self.is_over = True


class ReactionTo:
    """Be a reaction to an event.

    Args:
        function: Takes the event, the state, and the move.
        correlate: The name of a parameter of the pattern or a field of the event, or a function.
        begins: Whether it begins an instance.
        ends: Whether it ends it.
    """

    __slots__ = ("begins", "correlate", "ends", "function")

    def __init__(
        self, function: Callable[..., Any], correlate: Correlate, *, begins: bool, ends: bool
    ) -> None:
        self.function = function
        self.correlate = correlate
        self.begins = begins
        self.ends = ends

    def correlation_of(self, event: Any, params: Mapping[str, Any]) -> str:
        """Return what an event correlates to."""
        if callable(self.correlate):
            return str(self.correlate(event))
        if self.correlate in params:
            return str(params[self.correlate])
        return str(getattr(event, self.correlate))


class Process:
    """Be a process manager as it was declared; made by ``line.process()``.

    Args:
        name: Under which its instances are kept.
        state: The type of their state, a msgspec struct.
        correlate: What its events have in common: the name of a pattern's parameter or an
            event's field, or a function of the event.
        version: Of the state.
        deadline: Seconds after which an instance is late; ``@process.timer("deadline")`` says
            what then.
    """

    def __init__(
        self,
        name: str,
        state: type,
        *,
        correlate: Correlate,
        version: int = 1,
        deadline: float | None = None,
    ) -> None:
        if not _NAME.match(name):
            raise ConfigError(f"process {name!r}: a name has letters, digits, '_' and '-'")
        self.name = name
        self.state = state
        self.correlate = correlate
        self.version = version
        self.deadline_after = deadline
        self.patterns: list[str] = []
        self.kinds: list[type[Event]] = []
        self.timers: dict[str, Callable[..., Any]] = {}
        self._router: Router[ReactionTo] = Router()
        self._has_start = False
        self._migrations: dict[int, Migration] = {}

    # -- declaring ----------------------------------------------------------------------------

    def starts(self, subject: str | type, *, correlate: Correlate | None = None) -> Any:
        """Declare which event begins an instance; one that is there is left as it is.

        Decorates ``(event, move) -> state``.

        Args:
            subject: The event's type or name, or a pattern.
            correlate: Instead of the process manager's own.
        """
        return self._register(subject, correlate, begins=True)

    def on(self, subject: str | type, *, correlate: Correlate | None = None) -> Any:
        """Declare which event carries an instance on; without an instance it is left alone.

        Decorates ``(event, state, move) -> state``; None for the same state.

        Args:
            subject: The event's type or name, or a pattern.
            correlate: Instead of the process manager's own.
        """
        return self._register(subject, correlate)

    def ends(self, subject: str | type, *, correlate: Correlate | None = None) -> Any:
        """Declare which event ends an instance; as :meth:`on` otherwise."""
        return self._register(subject, correlate, ends=True)

    def timer(self, name: str) -> Callable[[F], F]:
        """Declare what happens when a timer goes off; decorates ``(state, move) -> state``.

        Args:
            name: The timer's; ``deadline`` for the deadline.

        Raises:
            ConfigError: It is declared twice.
        """

        def register(function: F) -> F:
            if name in self.timers:
                raise ConfigError(f"process {self.name!r} has two timers {name!r}")
            self.timers[name] = function
            return function

        return register

    def migrate(self, version: int) -> Callable[[F], F]:
        """Bring states of an older version up by one; decorates ``(fields) -> fields``.

        Args:
            version: The version it takes.

        Raises:
            ConfigError: The version is not older, or brought up already.
        """

        def register(function: F) -> F:
            if not 1 <= version < self.version or version in self._migrations:
                raise ConfigError(
                    f"process {self.name!r} has version {self.version}: version {version} is "
                    "not older, or brought up already"
                )
            self._migrations[version] = function
            return function

        return register

    def _register(
        self,
        subject: str | type,
        correlate: Correlate | None,
        *,
        begins: bool = False,
        ends: bool = False,
    ) -> Callable[[F], F]:
        pattern = subject if isinstance(subject, str) else stored(subject).name
        if isinstance(subject, type):
            self.kinds.append(subject)

        def register(function: F) -> F:
            if pattern in self.patterns:
                raise ConfigError(f"process {self.name!r} hears {pattern!r} twice")
            reaction = ReactionTo(function, correlate or self.correlate, begins=begins, ends=ends)
            self._has_start = self._has_start or begins
            self.patterns.append(pattern)
            self._router.add(pattern, reaction)
            return function

        return register

    def check(self) -> None:
        """Refuse what cannot work, when the line opens.

        Raises:
            ConfigError: Nothing begins an instance, an older version can't be brought up, or
                nobody hears the deadline.
        """
        if not self._has_start:
            raise ConfigError(f"process {self.name!r}: no @starts says what begins it")
        for version in range(1, self.version):
            if version not in self._migrations:
                raise ConfigError(
                    f"process {self.name!r} has version {self.version}, and nobody brings up "
                    f"version {version}: write @{self.name}.migrate({version})"
                )
        if self.deadline_after is not None and DEADLINE not in self.timers:
            raise ConfigError(
                f'process {self.name!r} has a deadline: say what then, @….timer("{DEADLINE}")'
            )

    # -- deciding -----------------------------------------------------------------------------

    def reaction_to(self, recorded: Recorded[Any]) -> tuple[ReactionTo, str] | None:
        """Return the reaction to an event and what it correlates to: the most exact one's."""
        found = self._router.match(recorded.name)
        if not found:
            return None
        reaction = found[0].value
        return reaction, reaction.correlation_of(recorded.event, found[0].params)

    def state_of(self, record: ProcessRecord) -> Any:
        """Return an instance's state, brought up to the present version.

        Raises:
            StepGoneError: It was written by newer code, or does not fit.
        """
        if record.version > self.version:
            raise StepGoneError(
                f"process {self.name!r} {record.correlation!r} has version {record.version}, and "
                f"this code knows up to {self.version}: deploy the newer code",
                saga_id=record.correlation,
            )
        fields = msgspec.json.decode(record.state)
        try:
            for version in range(record.version, self.version):
                fields = self._migrations[version](fields)
            return msgspec.convert(fields, self.state)
        except Exception as error:
            raise StepGoneError(
                f"the state of process {self.name!r} {record.correlation!r} can't be read: {error}",
                saga_id=record.correlation,
            ) from error

    def after(
        self, record: ProcessRecord | None, move: Move, state: Any, *, ends: bool
    ) -> ProcessRecord:
        """Return the instance as a reaction leaves it.

        Args:
            record: As it was, or None for one that begins.
            move: What the reaction wants.
            state: The new state; None for the same.
            ends: Whether its event ends it.

        Raises:
            UsageError: A reaction that begins an instance gave no state.
        """
        if state is None and record is None:
            raise UsageError(f"process {self.name!r}: what begins it returns its first state")
        if state is None and record is not None:
            text = record.state if record.version == self.version else None
            text = text or _json(self.state_of(record))
        else:
            text = _json(msgspec.convert(msgspec.to_builtins(state), self.state))
        is_over = ends or move.is_over
        return ProcessRecord(
            name=self.name,
            correlation=move.correlation,
            version=self.version,
            status=ProcessStatus.ENDED if is_over else ProcessStatus.ACTIVE,
            state=text,
            begun_at=move.now if record is None else record.begun_at,
            moved_at=move.now,
        )

    def __repr__(self) -> str:
        return f"<Process {self.name} version {self.version}>"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
