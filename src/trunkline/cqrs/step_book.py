"""The steps and undos that were declared, found by the command's name and by their own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trunkline.cqrs.pattern import NamePattern, name_pattern
from trunkline.cqrs.step import Step, Undo
from trunkline.errors import ConfigError


class StepBook:
    """Keep steps by the commands they belong to, and undos by name."""

    def __init__(self) -> None:
        self._steps: list[tuple[NamePattern, Step]] = []
        self._undos: dict[str, Undo] = {}
        self._found: dict[str, tuple[Step, ...]] = {}

    @property
    def undos(self) -> dict[str, Undo]:
        """Return the undos by name."""
        return self._undos

    @property
    def has_steps(self) -> bool:
        """Tell whether any step is declared."""
        return bool(self._steps)

    def add(self, pattern: str, step: Step) -> None:
        """Declare a step of the commands that a pattern matches.

        Raises:
            ConfigError: It is declared twice.
            GrammarError: The pattern is none.
        """
        compiled = name_pattern(pattern)
        for known, other in self._steps:
            if other.name == step.name and known.text == compiled.text:
                raise ConfigError(f"{pattern!r} has two steps {step.name!r}: name one otherwise")
        self._steps.append((compiled, step))
        self._found.clear()

    def add_undo(self, undo: Undo) -> None:
        """Declare what takes a step back.

        Raises:
            ConfigError: Another one has its name.
        """
        known = self._undos.get(undo.name)
        if known is not None and known.function is not undo.function:
            raise ConfigError(
                f"two undos are named {undo.name!r}: what is on record could mean either"
            )
        self._undos[undo.name] = undo

    def of(self, name: str) -> tuple[Step, ...]:
        """Return the steps of a command, in order."""
        found = self._found.get(name)
        if found is None:
            matching = [step for pattern, step in self._steps if pattern.matches(name)]
            found = tuple(sorted(matching, key=lambda step: step.priority))
            self._found[name] = found
        return found

    def check(self, names: Iterable[str]) -> None:
        """Refuse what cannot work, when the line opens.

        Args:
            names: Stored names of the commands that there are.

        Raises:
            ConfigError: An undo is missing, two steps of a command share a name, or a step
                belongs to no command.
        """
        known = list(names)
        for pattern, step in self._steps:
            if step.undo and step.undo not in self._undos:
                raise ConfigError(f"step {step.name!r}: there is no undo {step.undo!r}")
            if not any(pattern.matches(name) for name in known):
                raise ConfigError(f"step {step.name!r}: no command matches {pattern.text!r}")
        for name in known:
            steps: list[Any] = [step.name for step in self.of(name)]
            twice = {one for one in steps if steps.count(one) > 1}
            if twice:
                raise ConfigError(f"{name!r} has two steps {twice.pop()!r}: name one otherwise")
