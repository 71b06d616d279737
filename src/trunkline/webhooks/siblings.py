"""The wing through which services tell each other: publish here, subscribe there, by HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar, Unpack

from trunkline.channels.consumer import ConsumerOptions
from trunkline.channels.drafting import draft_of
from trunkline.channels.transaction import LineTransaction
from trunkline.channels.wing import Premises
from trunkline.errors import ConfigError, InvalidMessageError
from trunkline.model import codec
from trunkline.model.message import Limits, Message
from trunkline.runtime.service import Service
from trunkline.sql.database import Database
from trunkline.webhooks.callbacks import Published
from trunkline.webhooks.doorkeeper import Doorkeeper
from trunkline.webhooks.handler_service import HandlerService, inside
from trunkline.webhooks.outlet import Answer, Call
from trunkline.webhooks.peers import Peers
from trunkline.webhooks.registering import Registered, Registrar, Renewer
from trunkline.webhooks.service_http import HttpService, Middleware
from trunkline.webhooks.sibling_options import SiblingOptions
from trunkline.webhooks.sibling_statements import sibling_statements
from trunkline.webhooks.sources import Source, Sources, Subscription, takes_tx
from trunkline.webhooks.subscribers import Subscribers
from trunkline.webhooks.subscriptions_service import SubscriptionsService
from trunkline.webhooks.wing import Webhooks
from trunkline.wire.toot import Event, Format, check_channel, check_event_id, read_time

H = TypeVar("H", bound=Callable[..., Any])

#: Events that wait to be queued for callbacks.
OUTBOUND: Final = "/__trunkline/events"
_KEEP: Final = Limits(None, None)
_BATCH: Final = 200


class Siblings:
    """Publish to other services and hear from them.

    Args:
        premises: What the wing works with.
        webhooks: Delivers callbacks.

    Attributes:
        options: The settings.
        peers: The services that we know.
        subscribers: What they subscribed to here.

    Raises:
        ConfigError: The settings make no sense.
    """

    def __init__(self, premises: Premises, *, webhooks: Webhooks) -> None:
        self._premises = premises
        self._webhooks = webhooks
        self.options = SiblingOptions.read(webhooks.service_settings)
        clock = premises.clock
        self._sources = Sources()
        self.peers: Peers = webhooks.peers
        self.subscribers = Subscribers(self._database, clock, self.options.delivery)
        self._door = Doorkeeper(self.peers, clock)
        send = _Sender(webhooks)
        self._registrar = Registrar(
            self._database,
            self._sources,
            self.peers,
            options=self.options,
            send=send,
            clock=clock,
        )
        self._subscriptions = SubscriptionsService(
            self.peers,
            self._door,
            self.subscribers,
            options=self.options,
            send=send,
            clock=clock,
        )
        self._handlers = HandlerService(
            premises.bus, self._database, sources=self._sources, door=self._door, clock=clock
        )
        self._services: list[Service] = []
        consume = premises.bus.consume_internal
        consume("trunkline.events", OUTBOUND, self._queue, batch=_BATCH, keep=_KEEP, key=_own)

    # -- publishing ---------------------------------------------------------------------------

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

    # -- hearing ------------------------------------------------------------------------------

    def source(
        self,
        name: str,
        *,
        subscription_url: str,
        channel_prefix: str,
        peer: str | None = None,
        **how: Any,
    ) -> Source:
        """Declare a service that publishes.

        Args:
            name: Its name here.
            subscription_url: Where one subscribes to its channels.
            channel_prefix: What its channels begin with.
            peer: The peer that it is; the one of the same name by default.
            **how: ``format=`` and ``open=``, see :class:`Source`.

        Raises:
            ConfigError: It makes no sense, or another has its name.
        """
        if unknown := sorted(set(how) - {"format", "open"}):
            raise ConfigError(f"a source has no {unknown[0]!r}")
        how_: Format = how.get("format", self.options.format)
        if how_ not in {"standard", "toot"}:
            raise ConfigError(f"format={how_!r}: standard or toot")
        return self._sources.add(
            Source(
                name=name,
                subscription_url=subscription_url,
                channel_prefix=channel_prefix,
                peer=peer or name,
                format=how_,
                open=bool(how.get("open", False)),
            )
        )

    def on(
        self, source: str, channel: str, *, name: str | None = None, **options: Any
    ) -> Callable[[H], H]:
        """Have a function hear of a source's channel; a decorator, :meth:`subscribe` else."""

        def declare(handler: H) -> H:
            self.subscribe(source, channel, handler, name=name, **options)
            return handler

        return declare

    def subscribe(
        self,
        source: str,
        channel: str,
        handler: Callable[..., Any],
        *,
        name: str | None = None,
        **options: Unpack[ConsumerOptions],
    ) -> Subscription:
        """Have a function hear of a source's channel. Each is a durable consumer of its own.

        One that takes an event alone is called at least once for each. One that takes a second
        argument gets a transaction: what it writes through that happens exactly once.

        Args:
            source: The source's name.
            channel: The channel's name, behind the source's prefix.
            handler: The function or coroutine function.
            name: Names the consumer; made from the other three by default.
            **options: The consumer's.

        Raises:
            ConfigError: There is no such source, or something makes no sense.
            GrammarError: No channel has such a name.
        """
        takes_two = takes_tx(handler)
        made, is_new = self._sources.subscribe(source, channel, handler, name)
        if is_new:
            options.setdefault("key", _own)
            options.setdefault("keep", _KEEP)
            handle = partial(_handle_in, handler) if takes_two else partial(_handle, handler)
            self._premises.bus.consume_internal(made.name, made.inlet, handle, **options)
        return made

    @property
    def sources(self) -> Sequence[Source]:
        """Return the sources."""
        return tuple(self._sources)

    @property
    def subscriptions(self) -> Sequence[Subscription]:
        """Return the subscriptions."""
        return self._sources.subscriptions

    async def register(self) -> Sequence[Registered]:
        """Register all subscriptions now; one that fails doesn't stop the others.

        Raises:
            ConfigError: There is no ``callback_url``.
        """
        return await self._registrar.register_all()

    async def unregister(self, source: str, channel: str) -> Registered:
        """Tell a source that a channel, given by its full name, is not wanted any more."""
        return await self._registrar.unregister(source, channel)

    async def registrations(self) -> Sequence[Mapping[str, Any]]:
        """Return how each registration stands: when it was made, is renewed, and failed."""
        rows = await self._registrar.list()
        return [dict(zip(row.keys(), row, strict=True)) for row in rows]

    # -- as HTTP applications -----------------------------------------------------------------

    def subscriptions_service(self, *, middleware: Sequence[Middleware] = ()) -> HttpService:
        """Return the ASGI application at which others subscribe; ``.wsgi()`` is its other form.

        Args:
            middleware: Wraps it, the first outermost.
        """
        return HttpService(self._subscriptions, middleware)

    def handler_service(self, *, middleware: Sequence[Middleware] = ()) -> HttpService:
        """Return the ASGI application that sources call; ``.wsgi()`` is its other form.

        Args:
            middleware: Wraps it, the first outermost.
        """
        return HttpService(self._handlers, middleware)

    # -- as a wing ----------------------------------------------------------------------------

    async def open(self) -> None:
        """Check that there is a database.

        Raises:
            ConfigError: There is none.
        """
        _ = self._own_database
        registers = self.options.register == "start" and bool(self._sources.subscriptions)
        self._services = [
            Renewer(self._registrar, self.subscribers, self._forget, registers=registers)
        ]

    async def close(self) -> None:
        """Forget what belonged to the open line."""
        self._services = []

    def services(self) -> Sequence[Service]:
        """Return what a worker runs besides the consumers."""
        return self._services

    # -- inside -------------------------------------------------------------------------------

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
            Published(**_read(message.data), key=message.data["key"]) for message in messages
        ]
        await self._webhooks.callbacks.queue(self._own_database, tx, published)
        tx.after_commit(self._poke)

    async def _poke(self) -> None:
        self._webhooks.poke()

    async def _forget(self) -> None:
        database = await self._database()
        until = self._premises.clock.now() - self.options.remember
        async with database.transaction() as tx:
            await tx.execute(sibling_statements(database).forget, until)


class _Sender:
    """Send calls by the webhooks' outlet, through hook and guard."""

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    async def __call__(self, call: Call) -> Answer:
        outlet = self._webhooks.delivery.outlet
        await outlet.open()
        return await outlet.send(call)

    def check_url(self, url: str) -> object:
        return self._webhooks.delivery.check_url(url)


def _read(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": data["id"],
        "timestamp": read_time(data["timestamp"]),
        "channel": data["channel"],
        "payload": data["payload"],
    }


def _handle(handler: Callable[..., Any], message: Message) -> Any:
    return handler(Event(**_read(message.data)))


def _handle_in(handler: Callable[..., Any], message: Message, tx: LineTransaction) -> Any:
    return handler(Event(**_read(message.data)), tx)


def _draft(data: Any) -> Any:
    return draft_of(OUTBOUND, data, {}, site_id=None, internal=True)


def _own(message: Message) -> str:
    """Let no event wait behind another one that fails."""
    return str(message.global_id)
