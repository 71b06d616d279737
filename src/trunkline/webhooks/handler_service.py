"""The service that other services call: events come in, and wait on the line for handlers."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from trunkline.channels.wing import WingedBus
from trunkline.errors import InvalidMessageError, UsageError
from trunkline.runtime.clock import Clock
from trunkline.sql.database import Database
from trunkline.webhooks.doorkeeper import Doorkeeper
from trunkline.webhooks.errors import StrangerError
from trunkline.webhooks.service_http import ServiceAnswer, ServiceRequest
from trunkline.webhooks.sibling_statements import sibling_statements
from trunkline.webhooks.sources import Source, Sources, inlet_of
from trunkline.wire.signature import ID
from trunkline.wire.toot import UNSUBSCRIBE, Event, check_event_id, read_event, write_time

_PLAIN: Final = (
    ("content-type", "text/plain"),
    ("x-content-type-options", "nosniff"),
    ("cache-control", "no-store"),
)
_LONGEST_CHALLENGE: Final = 256


class HandlerService:
    """Take events that sources send.

    An event is published on the line in the transaction that notes its id, so that one that comes
    again is handled once; the answer is given when both are committed.

    Args:
        bus: Publishes.
        ready: Opens the line if need be, and returns its database.
        sources: What was declared.
        door: Finds out who calls.
        clock: Tells the time.
    """

    largest = 1024 * 1024

    def __init__(
        self,
        bus: WingedBus,
        ready: Callable[[], Awaitable[Database]],
        *,
        sources: Sources,
        door: Doorkeeper,
        clock: Clock,
    ) -> None:
        self._bus = bus
        self._ready = ready
        self._sources = sources
        self._door = door
        self._clock = clock

    async def answer(self, request: ServiceRequest) -> ServiceAnswer:
        """Answer a request.

        Raises:
            UsageError: It can't be done; the status says why.
        """
        if request.method == "GET":
            return self._confirm(request.parameters)
        if request.method != "POST":
            return ServiceAnswer(status=405, headers=(("allow", "GET, POST"),))
        database = await self._ready()
        senders = await self._senders(request)
        event = self._event(request)
        heard = [one for one in senders if self._sources.hears(one.name, event.channel)]
        if not heard:
            return ServiceAnswer(status=200, headers=((UNSUBSCRIBE.lower(), "True"),))
        for source in heard:
            await self._take(database, source, event)
        return ServiceAnswer(status=200)

    def _confirm(self, given: Mapping[str, str]) -> ServiceAnswer:
        """Answer whether we want to be called (WebSub 5.3)."""
        challenge = given.get("hub.challenge", "")
        is_said = 0 < len(challenge) <= _LONGEST_CHALLENGE and challenge.isascii()
        if not is_said or given.get("hub.mode") != "subscribe" or not challenge.isprintable():
            raise UsageError("this is where sources call: POST an event")
        if not self._sources.hears_of(given.get("hub.topic", "")):
            return ServiceAnswer(status=404, headers=_PLAIN, body=b"not wanted")
        return ServiceAnswer(status=200, headers=_PLAIN, body=challenge.encode())

    async def _senders(self, request: ServiceRequest) -> list[Source]:
        """Return the sources that a request may come from.

        Raises:
            StrangerError: It is none of them.
        """
        names = {one.peer for one in self._sources}
        try:
            known = await self._door.senders(request, names)
        except StrangerError:
            known = set()
        found = [one for one in self._sources if one.open or one.peer in known]
        if not found:
            raise StrangerError
        return found

    def _event(self, request: ServiceRequest) -> Event:
        given = request.headers.get(ID)
        try:
            default = check_event_id(given)
        except InvalidMessageError:
            default = str(uuid.uuid4())
        now = datetime.fromtimestamp(self._clock.now(), UTC)
        try:
            return read_event(request.body, default_id=default, now=now)
        except UsageError as error:
            raise InvalidMessageError(str(error)) from error

    async def _take(self, database: Database, source: Source, event: Event) -> None:
        sql = sibling_statements(database)
        seen = (f"peer/{source.name}", f"{event.channel} {event.id}", "", self._clock.now())
        async with self._bus.transaction() as tx:
            if await tx.execute(sql.accept, *seen):
                tx.publish_internal(inlet_of(source.name, event.channel), inside(event))


def inside(event: Event) -> dict[str, object]:
    """Return an event as it waits on the line."""
    return {
        "id": event.id,
        "timestamp": write_time(event.timestamp),
        "channel": event.channel,
        "payload": event.payload,
    }
