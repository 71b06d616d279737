"""Dynamic boundaries: a command decides on whatever events a query finds, in any streams.

After S. Pellegrini's "dynamic consistency boundary" (dcb.events): what was found must still be all
there is when the command is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self

from trunkline.cqrs.command import Event, Header, stored
from trunkline.errors import UsageError
from trunkline.store.command_table import TagQuery


class Query:
    """Ask for events that have all of some tags, and one of some types if any are named.

    Two of them joined by ``|`` ask for what either finds.

    Args:
        *tags: The tags, at least one.
        types: The types of events; all if none are named.

    Raises:
        UsageError: There is no tag.
    """

    __slots__ = ("items",)

    def __init__(self, *tags: str, types: Iterable[type[Event]] = ()) -> None:
        if not tags:
            raise UsageError("a query names at least one tag")
        names = tuple(stored(one).name for one in types)
        self.items: Sequence[TagQuery] = (TagQuery(tuple(dict.fromkeys(tags)), names),)

    def __or__(self, other: Self) -> Query:
        joined = Query.__new__(Query)
        joined.items = (*self.items, *other.items)
        return joined

    def finds(self, header: Header) -> bool:
        """Tell whether it finds an event."""
        name = header.type or header.name
        return any(
            set(item.tags) <= set(header.tags) and (not item.types or name in item.types)
            for item in self.items
        )

    def __repr__(self) -> str:
        return f"<Query {' | '.join(' & '.join(item.tags) for item in self.items)}>"
