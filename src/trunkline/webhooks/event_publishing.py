"""The publishing half of what services tell each other: from a call to rows for callbacks."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Unpack

from trunkline.channels.consumer import ConsumerOptions
from trunkline.channels.drafting import draft_of
from trunkline.channels.transaction import LineTransaction
from trunkline.channels.wing import Premises
from trunkline.errors import ConfigError, InvalidMessageError
from trunkline.model import codec
from trunkline.model.message import Limits, Message
from trunkline.sql.database import Database
from trunkline.webhooks.callbacks import Published
from trunkline.webhooks.handler_service import inside
from trunkline.webhooks.sibling_options import SiblingOptions
from trunkline.webhooks.wing import Webhooks
from trunkline.wire.toot import Event, check_channel, check_event_id, read_time

#: Events that wait to be queued for callbacks.
OUTBOUND: Final = "/__trunkline/events"
#: An event waits for its queueing for as long as that takes.
_KEEP: Final = Limits(None, None)
_BATCH: Final = 200


class EventPublishing:
    """Publish events to those who subscribed.

    Args:
        premises: What the wing works with.
        webhooks: Delivers callbacks.
        options: The settings.
    """

    def __init__(self, premises: Premises, *, webhooks: Webhooks, options: SiblingOptions) -> None:
        self._premises = premises
        self._webhooks = webhooks
        self.options = options
        consume = premises.bus.consume_internal
        consume("trunkline.events", OUTBOUND, self._queue, batch=_BATCH, keep=_KEEP, key=own_key)

    async def publish(
        self,
        channel: str,
        payload: Any = None,
        *,
        prefix: str | None = None,
        key: str | None = None,
        tx: Any = None,
        **event: Any,
    ) -> Event:
        """Publish to every service that has subscribed; durable when this returns.

        Args:
            channel: Its name, behind the prefix.
            payload: Any JSON value; an empty object by default.
            prefix: Instead of the one in the settings.
            key: Events with the same key go to each callback one after another.
            tx: The line's transaction, or one that is open elsewhere, as for ``line.publish``.
            **event: ``id=`` and ``timestamp=``, for an event that has them already.

        Returns:
            The event.

        Raises:
            GrammarError: No channel has such a name.
            UnencodableDataError: The payload is no strict JSON.
            InvalidMessageError: The id or the timestamp can't be sent.
            LogError: It could not be stored.
        """
        made = self._event(channel, payload, prefix, event)
        data = {**inside(made), "key": key}
        if isinstance(tx, LineTransaction):
            tx.publish_internal(OUTBOUND, data)
            return made
        await self._premises.bus.be_ready()
        if tx is None:
            await self._premises.bus.publish_internal(OUTBOUND, data)
        else:
            await self._premises.store.publish(tx, [_draft(data)])
        return made

    def publish_in(
        self,
        tx: Any,
        channel: str,
        payload: Any = None,
        *,
        prefix: str | None = None,
        key: str | None = None,
        **event: Any,
    ) -> Event:
        """Publish inside a synchronous transaction, from synchronous code; as :meth:`publish`.

        Args:
            tx: As for ``line.publish_in``.
            channel: Its name, behind the prefix.
            payload: Any JSON value.
            prefix: Instead of the one in the settings.
            key: As for :meth:`publish`.
            **event: As for :meth:`publish`.
        """
        made = self._event(channel, payload, prefix, event)
        self._premises.store.publish_now(tx, [_draft({**inside(made), "key": key})])
        return made

    def feed(
        self,
        name: str,
        channels: str | Sequence[str],
        *,
        to: str | Callable[[Message], str],
        payload: Callable[[Message], Any] | None = None,
        **options: Unpack[ConsumerOptions],
    ) -> None:
        """Have the messages of channels of the line published to other services.

        Args:
            name: Names the consumer that does it.
            channels: Names or patterns of channels.
            to: The channel's name behind the prefix, or a function of the message.
            payload: Makes the payload of a message; its data by default.
            **options: The consumer's.

        Raises:
            ConfigError: Something makes no sense.
            GrammarError: A channel, or a pattern, is none.
        """
        if isinstance(to, str):
            check_channel(self.options.prefix + to)

        def made_of(message: Message) -> Published:
            suffix = to if isinstance(to, str) else to(message)
            return Published(
                id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{name} {message.position}")),
                timestamp=datetime.fromtimestamp(message.published_at, UTC),
                channel=check_channel(self.options.prefix + suffix),
                payload=message.data if payload is None else payload(message),
                key=None,
            )

        async def pass_on(message: Message, tx: LineTransaction) -> None:
            await self._webhooks.callbacks.queue(self._own_database, tx, [made_of(message)])
            tx.after_commit(self._poke)

        self._premises.bus.consumer(name, channels, handler=pass_on, **options)

    # -- inside ---

    @property
    def _own_database(self) -> Database:
        found = self._premises.store.database
        if found is None:
            raise ConfigError(
                "services need a SQL database: use a log on SQLite or PostgreSQL, or set store= "
                "to a database beside this log"
            )
        return found

    async def _database(self) -> Database:
        await self._premises.bus.be_ready()
        return self._own_database

    def _event(
        self, channel: str, payload: Any, prefix: str | None, given: Mapping[str, Any]
    ) -> Event:
        if unknown := sorted(set(given) - {"id", "timestamp"}):
            raise TypeError(f"publish() got an unexpected keyword argument {unknown[0]!r}")
        stamp = given.get("timestamp")
        if stamp is None:
            stamp = datetime.fromtimestamp(self._premises.clock.now(), UTC)
        if not isinstance(stamp, datetime) or stamp.tzinfo is None:
            raise InvalidMessageError("a timestamp is a datetime that knows its zone")
        payload = {} if payload is None else payload
        codec.encode(payload)
        return Event(
            id=check_event_id(given.get("id") or str(uuid.uuid4())),
            timestamp=stamp,
            channel=check_channel((self.options.prefix if prefix is None else prefix) + channel),
            payload=payload,
        )

    async def _queue(self, messages: Sequence[Message], tx: LineTransaction) -> None:
        """Queue events for callbacks, in the transaction that says they are done."""
        published = [
            Published(**read_inside(message.data), key=message.data["key"]) for message in messages
        ]
        await self._webhooks.callbacks.queue(self._own_database, tx, published)
        tx.after_commit(self._poke)

    async def _poke(self) -> None:
        self._webhooks.poke()


def read_inside(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an event that waited on the line."""
    return {
        "id": data["id"],
        "timestamp": read_time(data["timestamp"]),
        "channel": data["channel"],
        "payload": data["payload"],
    }


def _draft(data: Any) -> Any:
    return draft_of(OUTBOUND, data, {}, site_id=None, internal=True)


def own_key(message: Message) -> str:
    """Let no event wait behind another one that fails."""
    return str(message.global_id)
