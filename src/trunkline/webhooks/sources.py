"""What we want to hear from other services: where each is, and which function hears of what."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

import msgspec

from trunkline.errors import ConfigError
from trunkline.webhooks.outlet import Answer, Call
from trunkline.webhooks.peer import check_name
from trunkline.wire.toot import Format, check_channel, check_prefix

Handler = Callable[..., Any]
_FOREIGN: Final = re.compile(r"[^A-Za-z0-9._-]+")


class SendCall(Protocol):
    """Send calls through hook and guard."""

    async def __call__(self, call: Call) -> Answer:
        """Make a call.

        Raises:
            CallFailedError: There was no answer.
        """

    def check_url(self, url: str) -> object:
        """Refuse a URL that can't be called, as far as its text tells.

        Raises:
            BlockedError: It can't.
        """


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Be a service that publishes.

    Args:
        name: Its name here.
        subscription_url: Where one subscribes to its channels.
        channel_prefix: What its channels begin with.
        peer: The peer that it is: proves requests either way.
        format: ``standard``, or ``toot`` for a service that runs the gem.
        open: Whether what comes for its channels needs no proof; only between trusted networks.
    """

    name: str
    subscription_url: str
    channel_prefix: str
    peer: str
    format: Format
    open: bool


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """Be a function that hears of a source's channel.

    Args:
        source: The source.
        channel: The full name.
        handler: Called with an event and, if it takes one, a transaction.
        name: Names the consumer that runs it.
    """

    source: Source
    channel: str
    handler: Handler
    name: str

    @property
    def inlet(self) -> str:
        """Return the channel of the line on which its events wait for handlers."""
        return inlet_of(self.source.name, self.channel)


def inlet_of(source: str, channel: str) -> str:
    """Return the channel of the line on which a source's events wait for handlers."""
    return f"/__trunkline/events/{source}/{channel}"


class Sources:
    """Hold what was declared."""

    def __init__(self) -> None:
        self._sources: dict[str, Source] = {}
        self._subscriptions: dict[str, Subscription] = {}

    def __iter__(self) -> Iterator[Source]:
        return iter(self._sources.values())

    @property
    def subscriptions(self) -> Sequence[Subscription]:
        """Return all subscriptions, in the order of their declaration."""
        return tuple(self._subscriptions.values())

    def find(self, name: str) -> Source | None:
        """Return a source, or None."""
        return self._sources.get(name)

    def add(self, source: Source) -> Source:
        """Declare a source.

        Raises:
            ConfigError: It makes no sense, or another has its name.
        """
        check_name(source.name)
        check_prefix(source.channel_prefix)
        known = self._sources.setdefault(source.name, source)
        if known != source:
            raise ConfigError(f"there is another source {source.name!r}: give it another name")
        return known

    def subscribe(
        self, source_name: str, channel: str, handler: Handler, name: str | None
    ) -> tuple[Subscription, bool]:
        """Declare that a function hears of a channel; the same one twice is one.

        Args:
            source_name: The source's name.
            channel: The channel's name behind the source's prefix.
            handler: The function.
            name: Names the consumer; made from the rest by default.

        Returns:
            The subscription, and whether it is new.

        Raises:
            ConfigError: There is no such source, or another function has the name.
            GrammarError: No channel has such a name.
        """
        source = self._sources.get(source_name)
        if source is None:
            raise ConfigError(f"You cannot subscribe to an undefined source: {source_name}")
        full = check_channel(source.channel_prefix + channel)
        made = Subscription(
            source=source,
            channel=full,
            handler=handler,
            name=name or _name_of(source_name, channel, handler),
        )
        known = self._subscriptions.setdefault(made.name, made)
        if known is made:
            return made, True
        if (known.handler, known.channel, known.source) != (handler, full, source):
            raise ConfigError(
                f"another handler is named {made.name!r}: say name= for one of them, and keep it, "
                "for what was handled is remembered by it"
            )
        return known, False

    def wanted(self) -> Sequence[tuple[Source, str]]:
        """Return what is to be registered: each pair of source and channel once."""
        return list(
            dict.fromkeys((one.source, one.channel) for one in self._subscriptions.values())
        )

    def hears(self, source: str, channel: str) -> bool:
        """Tell whether somebody hears of a source's channel."""
        return any(
            one.channel == channel and one.source.name == source
            for one in self._subscriptions.values()
        )

    def hears_of(self, channel: str) -> bool:
        """Tell whether somebody hears of a channel, whoever publishes it."""
        return any(one.channel == channel for one in self._subscriptions.values())


def takes_tx(handler: Handler) -> bool:
    """Tell whether a handler takes a transaction beside the event.

    Raises:
        ConfigError: It takes something else.
    """
    try:
        parameters = list(inspect.signature(handler).parameters.values())
    except (TypeError, ValueError):
        raise ConfigError("a handler is a function of an event") from None
    positional = [
        one for one in parameters if one.kind in {one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD}
    ]
    wanted = sum(one.default is one.empty for one in positional)
    if not positional or wanted > 2:
        raise ConfigError("a handler takes an event, or an event and a transaction")
    return wanted == 2 or (len(positional) > 1 and positional[1].name == "tx")


def _name_of(source: str, channel: str, handler: Handler) -> str:
    given = getattr(handler, "__qualname__", None) or type(handler).__qualname__
    own = given.replace("<locals>.", "").strip("<>")
    text = _FOREIGN.sub("-", f"{source}.{channel}.{own}")
    if len(text) > 100:
        raise ConfigError(f"{text!r} is too long to name a handler: say name=")
    return text
