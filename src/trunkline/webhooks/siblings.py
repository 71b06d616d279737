"""The wing through which services tell each other: publish here, subscribe there, by HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar, Unpack

from trunkline.channels.consumer import ConsumerOptions
from trunkline.channels.transaction import LineTransaction
from trunkline.channels.wing import Premises
from trunkline.errors import ConfigError
from trunkline.model.message import Limits, Message
from trunkline.runtime.service import Service
from trunkline.webhooks.doorkeeper import Doorkeeper
from trunkline.webhooks.event_publishing import EventPublishing, own_key, read_inside
from trunkline.webhooks.handler_service import HandlerService
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
from trunkline.wire.toot import Event, Format

H = TypeVar("H", bound=Callable[..., Any])

_KEEP: Final = Limits(None, None)


class Siblings(EventPublishing):
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
        options = SiblingOptions.read(webhooks.service_settings)
        super().__init__(premises, webhooks=webhooks, options=options)
        clock = premises.clock
        self._sources = Sources()
        self.peers: Peers = webhooks.peers
        self.subscribers = Subscribers(self._database, clock, options)
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
            options.setdefault("key", own_key)
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


def _handle(handler: Callable[..., Any], message: Message) -> Any:
    return handler(Event(**read_inside(message.data)))


def _handle_in(handler: Callable[..., Any], message: Message, tx: LineTransaction) -> Any:
    return handler(Event(**read_inside(message.data)), tx)
