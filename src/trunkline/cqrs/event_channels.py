"""Channels declared by event pattern: what sockets are told of events, after their commit.

A function shapes each event it hears into a message on a plain channel of the line, in the
transaction of a durable consumer. So it is told exactly once, with a position to resume from, to
whoever may read that channel: by its name or by a pattern.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from trunkline.channels.drafting import PublishOptions
from trunkline.channels.transaction import LineTransaction
from trunkline.cqrs.calling import called
from trunkline.cqrs.channel_options import EPHEMERAL, Push
from trunkline.cqrs.command import Recorded
from trunkline.cqrs.handler import Handler, Role
from trunkline.cqrs.hearing import Heard, Hearing
from trunkline.cqrs.reaction import Note
from trunkline.cqrs.segment import encode
from trunkline.errors import GrammarError
from trunkline.log.port import Log
from trunkline.model.channel import channel_key
from trunkline.model.message import Record

if TYPE_CHECKING:
    from trunkline.cqrs.catalog import Catalog

logger = logging.getLogger(__name__)

#: Where events are told that say no other place.
ROOT: Final = "/events"


class EventChannels:
    """Tell what the channels of one domain make of events.

    Args:
        domain: The domain's name.
        handlers: The channels' functions.
        catalog: Finds the catalogue of events.
        log: Knows which channels were told before.
    """

    def __init__(
        self,
        domain: str,
        handlers: Iterable[Handler],
        catalog: Callable[[], Catalog],
        log: Callable[[], Log],
    ) -> None:
        self.consumer = channels_consumer(domain)
        ordered = sorted(handlers, key=lambda one: (one.priority, one.order))
        self._hearings = [Hearing(handler, catalog) for handler in ordered]
        self._log = log
        #: Told what became of an event, and how long that took.
        self.note: Note | None = None

    def wants(self, record: Record) -> bool:
        """Tell whether some channel hears an event."""
        return any(hearing.wants(record) for hearing in self._hearings)

    async def take(self, record: Record, tx: LineTransaction) -> None:
        """Have every channel that hears an event tell it, by priority.

        One that fails is told in the log and noted in the trace, and keeps no other from telling.
        """
        for hearing in self._hearings:
            if not hearing.wants(record):
                continue
            heard = hearing.heard(record)
            began, failure = perf_counter(), None
            try:
                async with tx.savepoint():
                    await self._tell(hearing.handler, heard, record.channel.site_id, tx)
            except Exception as error:
                failure = error
                logger.exception(
                    "the channel %s can't tell of %s: see 'trunkline trace %s'",
                    hearing.handler.name,
                    heard.recorded.name,
                    heard.recorded.id,
                )
            if self.note is not None:
                took = perf_counter() - began
                self.note(hearing.handler.name, heard.recorded, took, failure)

    async def _tell(
        self, handler: Handler, heard: Heard, site_id: str | None, tx: LineTransaction
    ) -> None:
        recorded = heard.recorded
        supplies = {"tx": tx, "recorded": recorded}
        shaped = await called(handler, recorded.event, heard.params, supplies)
        if shaped is None:
            return
        name = channel_of(handler.extra.get("to"), heard)
        if handler.extra.get("lifespan") == EPHEMERAL and await self._was_told(name, site_id, tx):
            return
        push = shaped if isinstance(shaped, Push) else Push(shaped)
        await tx.publish(name, push.data, **_addressed(push.options, recorded, site_id))

    async def _was_told(self, name: str, site_id: str | None, tx: LineTransaction) -> bool:
        key = channel_key(name, site_id)
        if any(draft.channel == key for draft in tx.unit.drafts):
            return True
        # A channel's counter outlives its messages, so this stays true when they are trimmed.
        return bool((await self._log().last_ids([key])).ids.get(key))


def channels_consumer(domain: str) -> str:
    """Return the name of the consumer that has a domain's channels tell."""
    return f"{domain}.channels"


def channel_of(to: str | None, heard: Heard) -> str:
    """Return the name of the channel on which an event is told.

    Args:
        to: The place, with ``:name`` for parameters; None for the usual one.
        heard: The event and what the pattern captured.

    Raises:
        GrammarError: A parameter is neither captured nor a field.
    """
    if to is None:
        return f"{ROOT}/{heard.recorded.name.replace('.', '/')}"
    return "/".join(
        _filled(segment[1:], heard) if segment.startswith(":") else segment
        for segment in to.split("/")
    )


def _filled(name: str, heard: Heard) -> str:
    value = heard.params.get(name, getattr(heard.recorded.event, name, None))
    if value is None or isinstance(value, tuple):
        raise GrammarError(
            f"{heard.recorded.name!r} has no {name!r} for the channel's name: let the pattern "
            "capture it once, or give the event such a field"
        )
    return encode(value)


def _addressed(
    options: PublishOptions, recorded: Recorded[Any], site_id: str | None
) -> PublishOptions:
    headers: Mapping[str, Any] = {
        "event": recorded.name,
        "id": recorded.id,
        "correlation": recorded.headers.correlation,
        **(options.get("headers") or {}),
    }
    chosen: PublishOptions = {**options, "headers": headers}
    if site_id is not None:
        chosen["site_id"] = site_id
    return chosen


def channels_by_domain(handlers: Iterable[Handler]) -> dict[str, list[Handler]]:
    """Return the functions of channels, by domain."""
    found: dict[str, list[Handler]] = {}
    for handler in handlers:
        if handler.role is Role.CHANNEL and handler.enabled:
            found.setdefault(handler.domain.name, []).append(handler)
    return found
