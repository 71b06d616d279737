"""What led to what: the tree of events, kept up behind the log.

One durable consumer writes a row for each event. Who asks brings the tree up to date first, so that
an answer is complete also where no worker runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from trunkline.channels.transaction import LineTransaction
from trunkline.channels.wing import WingedBus
from trunkline.cqrs.command import Header
from trunkline.cqrs.hearing import EVENTS
from trunkline.log.port import Log
from trunkline.model.message import Record
from trunkline.store.trace_table import EventRow, TraceTable

CONSUMER: Final = "trunkline.causes"
PAGE: Final = 1000

_header = msgspec.json.Decoder(Header)


class Causes:
    """Keep the tree of events, and walk it.

    Args:
        bus: Begins transactions, and runs the consumer.
        log: Finds the log.
        table: Finds where the tree is kept.
    """

    def __init__(
        self, bus: WingedBus, log: Callable[[], Log], table: Callable[[], TraceTable]
    ) -> None:
        self._bus = bus
        self._log = log
        self._table = table

    def declare(self) -> None:
        """Declare the consumer that keeps it up."""
        self._bus.consume_records(CONSUMER, EVENTS, self._take, batch=PAGE)

    async def _take(self, records: Sequence[Record], tx: LineTransaction) -> None:
        rows = [row for record in records if (row := _row(record)) is not None]
        if rows:
            await self._table().index(tx, rows)

    async def catch_up(self) -> None:
        """Bring the tree up to the end of the log."""
        after = await self._table().indexed()
        while True:
            page = await self._log().read_all(after, PAGE, interest=EVENTS)
            if page.records:
                async with self._bus.transaction() as tx:
                    await self._take(page.records, tx)
            if page.upto >= page.head:
                return
            after = page.upto

    async def find(self, event_id: str) -> EventRow | None:
        """Return an event by its id, or None."""
        await self.catch_up()
        return await self._table().event(event_id)

    async def ancestors(self, event_id: str) -> list[EventRow]:
        """Return the events that led to one, the nearest first."""
        await self.catch_up()
        found: list[EventRow] = []
        row = await self._table().event(event_id)
        while row is not None and row.causation != row.id:
            row = await self._table().event(row.causation)
            if row is not None:
                found.append(row)
        return found

    async def descendants(self, event_id: str) -> list[EventRow]:
        """Return the events that one led to, directly or through others, in order of depth."""
        await self.catch_up()
        found: list[EventRow] = []
        seen, front = {event_id}, [event_id]
        while front:
            caused = [row for ident in front for row in await self._table().caused(ident)]
            fresh = [row for row in caused if row.id not in seen]
            found += fresh
            front = [row.id for row in fresh]
            seen.update(front)
        return found

    async def siblings(self, event_id: str) -> list[EventRow]:
        """Return the other events with the same cause; for a first command's, its others."""
        await self.catch_up()
        row = await self._table().event(event_id)
        if row is None:
            return []
        return [one for one in await self._table().caused(row.causation) if one.id != event_id]


def _row(record: Record) -> EventRow | None:
    try:
        header = _header.decode(record.headers or b"")
    except msgspec.DecodeError:
        return None  # a stream message that is no event
    channel = record.channel
    return EventRow(
        header.id,
        record.global_id,
        channel.site_id or "",
        channel.name,
        record.message_id,
        header.domain,
        header.name,
        header.command,
        header.causation,
        header.correlation,
        header.at,
    )
