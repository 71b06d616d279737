"""The signals that a line knows, by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from trunkline.errors import ConfigError
from trunkline.webhooks.errors import PayloadError, SignalError
from trunkline.webhooks.keys import key_from
from trunkline.webhooks.signal import Signal, check_class

S = TypeVar("S", bound=Signal)


class Catalogue:
    """Hold declared signals."""

    def __init__(self) -> None:
        self._classes: dict[str, type[Signal]] = {}

    def declare(self, cls: type[S]) -> type[S]:
        """Add a class.

        Raises:
            ConfigError: It lacks something, or another has its name.
        """
        check_class(cls)
        other = self._classes.get(cls.signal_name)
        if other is not None and other is not cls:
            raise ConfigError(
                f"{cls.__qualname__} and {other.__qualname__} both have "
                f"signal_name={cls.signal_name!r}: apps could not tell them apart"
            )
        self._classes[cls.signal_name] = cls
        return cls

    def check(self, signal: Signal) -> None:
        """Check that a signal may be fired.

        Raises:
            SignalError: Its class was not declared.
        """
        if not isinstance(signal, Signal):
            raise SignalError(f"{signal!r} is no signal")
        if self._classes.get(getattr(signal, "signal_name", "")) is not type(signal):
            raise SignalError(
                f"{type(signal).__name__} is not declared: put @line.webhooks.declare above it"
            )

    def find(self, name: str) -> type[Signal] | None:
        """Return the class of a signal_name, or None."""
        return self._classes.get(name)

    def restore(self, name: str, *, object_id: str | None, account_id: str, context: Any) -> Signal:
        """Make a signal anew, out of what is stored of it.

        Args:
            name: Its signal_name. A class is never found by a stored name of a class.
            object_id: JSON text that tells the type, or None.
            account_id: Likewise.
            context: As it was captured.

        Raises:
            PayloadError: No such signal is declared in this process.
        """
        cls = self._classes.get(name)
        if cls is None:
            raise PayloadError(
                f"no signal {name!r} is declared in this process: import it where the worker starts"
            )
        found = None if object_id is None else key_from(object_id)
        return cls(found, account_id=key_from(account_id), context=context)

    def __iter__(self) -> Iterator[type[Signal]]:
        return iter(self._classes.values())

    def __len__(self) -> int:
        return len(self._classes)
