"""Entries: commands that an application opens to clients, one by one, each with its own access."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple

from trunkline.cqrs.context import Origin
from trunkline.cqrs.told import Told
from trunkline.errors import AccessDeniedError, ConfigError
from trunkline.model.identity import Identity

#: Called with who asks and the command; says whether it may be sent.
EntryAccess = Callable[[Identity, Any], Awaitable[bool] | bool]
#: Runs what came in and returns what the client is told.
Run = Callable[[Any, Origin], Awaitable[Told]]


class Entry(NamedTuple):
    """Be something that clients may have run.

    Args:
        name: Its part of the path.
        kind: The type of what comes in, for reading and for the description.
        run: Runs it.
        access: Says who may; None for everybody who is known.
        summary: What it is for, in a sentence.
    """

    name: str
    kind: Any
    run: Run
    access: EntryAccess | None
    summary: str = ""

    async def check(self, identity: Identity, value: Any) -> None:
        """Ask whether somebody may have it run.

        Raises:
            AccessDeniedError: They may not.
        """
        if self.access is None:
            return
        found = self.access(identity, value)
        if not (await found if inspect.isawaitable(found) else found):
            raise AccessDeniedError(f"this identity may not send {self.name!r}")


class Entries:
    """Hold what clients may have run, by name."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def add(self, entry: Entry) -> None:
        """Open something to clients.

        Raises:
            ConfigError: Something has its name.
        """
        if entry.name in self._entries:
            raise ConfigError(f"{entry.name!r} is exposed twice")
        self._entries[entry.name] = entry

    def get(self, name: str) -> Entry | None:
        """Return an entry, or None."""
        return self._entries.get(name)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)
