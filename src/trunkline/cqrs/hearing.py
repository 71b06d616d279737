"""What one handler hears of the log: which records, decoded to what, with which parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from trunkline.cqrs.catalog import Catalog
from trunkline.cqrs.command import Recorded
from trunkline.cqrs.handler import Handler
from trunkline.cqrs.pattern import Params
from trunkline.cqrs.router import Router
from trunkline.model.interest import ANY_SITE, Interest, PatternInterest
from trunkline.model.message import Record

#: All events of all sites.
EVENTS: Final = Interest(patterns=frozenset({PatternInterest("/stream/**", ANY_SITE)}))


class Label(msgspec.Struct, frozen=True, gc=False):
    """Be the few of an event's headers that say who hears it."""

    name: str
    domain: str = ""
    type: str | None = None


_label = msgspec.json.Decoder(Label)


def label_of(record: Record) -> Label | None:
    """Return who an event is for; None for what is no event."""
    try:
        return _label.decode(record.headers or b"")
    except msgspec.DecodeError:
        return None


class Heard(NamedTuple):
    """Be an event that reached a handler.

    Args:
        recorded: The event.
        params: What the handler's pattern captured.
    """

    recorded: Recorded[Any]
    params: Params


class Hearing:
    """Find and decode what one handler hears.

    Args:
        handler: The handler.
        catalog: Finds the catalogue of events.
    """

    def __init__(self, handler: Handler, catalog: Callable[[], Catalog]) -> None:
        self.handler = handler
        self._catalog = catalog
        self._router: Router[None] = Router(names=0)  # what one hears once, it hears once
        for pattern in handler.patterns:
            self._router.add(pattern, None, legacy=handler.is_legacy)
        self._types: dict[str, bool] = {}

    def wants(self, record: Record) -> bool:
        """Tell whether the handler hears an event, before it is decoded."""
        label = label_of(record)
        if label is None or not self._router.match(label.name):
            return False
        if not self.handler.hears_domain(label.domain):
            return False
        return self._takes(label.type or label.name)

    def hears(self, recorded: Recorded[Any]) -> bool:
        """Tell whether the handler hears an event that is decoded."""
        header = recorded.headers
        return (
            bool(self._router.match(recorded.name))
            and self.handler.hears_domain(header.domain)
            and self._takes(header.type or header.name)
        )

    def hear(self, record: Record, catalog: Catalog) -> Heard | None:
        """Decode an event if the handler hears it; None if not.

        Args:
            record: The event.
            catalog: The catalogue of events.

        Raises:
            UndecodableEventError: No type and upcaster can read it.
        """
        header = catalog.header(record)
        found = self._router.match(header.name)
        if not found or not self.handler.hears_domain(header.domain):
            return None
        if not self._takes(header.type or header.name):
            return None
        return Heard(catalog.recorded(record, header), found[0].params)

    def _takes(self, stored_name: str) -> bool:
        """Tell whether the handler's annotation accepts a type of event; unknown ones it must."""
        found = self._types.get(stored_name)
        if found is None:
            subject, kind = self.handler.signature.subject, self._catalog().kind(stored_name)
            if isinstance(subject, tuple):
                found = kind is not None and issubclass(kind, subject)
            else:
                found = True
            self._types[stored_name] = found
        return found

    def heard(self, record: Record) -> Heard:
        """Decode an event that is wanted.

        Raises:
            UndecodableEventError: No type and upcaster can read it.
        """
        recorded = self._catalog().recorded(record)
        return Heard(recorded, self._router.match(recorded.name)[0].params)
