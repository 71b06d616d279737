"""The client: subscribe to a gateway's channels over any of its transports, and publish."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, Unpack

from trunkline.channels.drafting import PublishOptions
from trunkline.channels.subscription import OnGap
from trunkline.client.cursor import Cursor
from trunkline.client.endpoint import Endpoint
from trunkline.client.entities import EntityLink, EntityWatch
from trunkline.client.events import EventLink
from trunkline.client.feed import Feed
from trunkline.client.link import Link
from trunkline.client.poll_cursor import PollCursor
from trunkline.client.polling import HOLDS, PollLink
from trunkline.client.presence import ChannelPresence
from trunkline.client.publisher import Publication, Publisher
from trunkline.client.settings import ClientOptions, Settings
from trunkline.client.socket import SocketLink
from trunkline.client.subscription import AnyFeed, Subscription
from trunkline.errors import GrammarError, LineClosedError
from trunkline.model.entity import entity_key
from trunkline.model.message import Receipt
from trunkline.model.pattern import is_pattern
from trunkline.model.position import Position
from trunkline.wire.presence import check_followed
from trunkline.wire.start import Edge, Start, check_channels, check_last, parse_start

MAX_CHANNELS = 500

Place = Position | str | int | Mapping[str, int] | None


class Client:
    """Listen and publish through a gateway.

    ::

        async with Client("https://example.org") as client:
            async for message in client.subscribe("/orders/*"):
                ...

    After any disconnect each subscription goes on from its position: nothing is lost, nothing
    comes twice, and what the server no longer keeps is told as a gap.

    Args:
        base_url: Where the gateway is mounted.
        **options: See :class:`~trunkline.client.settings.ClientOptions`.

    Raises:
        ConfigError: The URL or an option is out of range.
        MissingExtraError: aiohttp is not installed.
    """

    def __init__(self, base_url: str, **options: Unpack[ClientOptions]) -> None:
        self._settings = Settings(**options)
        self._endpoint = Endpoint(base_url, self._settings)
        self._publisher = Publisher(self._endpoint, self._settings)
        self._links: list[tuple[Link[Any], asyncio.Task[None]]] = []
        self._entities = EntityLink(self._endpoint, self._settings)
        self._tasks: asyncio.TaskGroup | None = None
        self._watching: asyncio.Task[None] | None = None
        self._poll_id = self._settings.client_id or self._settings.random_id()

    async def __aenter__(self) -> Self:
        tasks = asyncio.TaskGroup()
        await tasks.__aenter__()
        self._tasks = tasks
        self._endpoint.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        tasks, self._tasks = self._tasks, None
        for link, task in self._links:
            for feed in tuple(link.feeds):
                feed.close()
            task.cancel()
        self._links.clear()
        self._entities.close()
        if self._watching is not None:
            self._watching.cancel()
        try:
            if tasks is not None:
                # The body's own exception is not the group's: it leaves as it is. A cancellation
                # may be the group's own doing, so the group must see it.
                is_cancelled = isinstance(error, asyncio.CancelledError)
                told = (kind, error, trace) if is_cancelled else (None, None, None)
                await tasks.__aexit__(*told)
        finally:
            await self._endpoint.close()

    def subscribe(
        self,
        *channels: str,
        position: Place = None,
        last: int | None = None,
        on_gap: OnGap | None = None,
    ) -> Subscription:
        """Listen to channels, by name or, where the transport allows, by pattern.

        Args:
            *channels: Names and patterns.
            position: Begin after this position (its text will do); 0 for the oldest kept; None
                for now. On the polling transports 0, or message ids per channel.
            last: Begin with the newest so many messages of each channel instead.
            on_gap: Takes gaps, instead of :class:`~trunkline.errors.GapError`.

        Returns:
            A subscription to iterate over. It starts at once; ``await subscription.open()``
            waits for the server's acknowledgement.

        Raises:
            GrammarError: A name, pattern or position is outside the grammar, or not possible on
                this transport.
            LineClosedError: The client is not entered, or was left.
        """
        names = check_channels(channels, max_channels=MAX_CHANNELS)
        feed: AnyFeed
        if self._settings.transport in HOLDS:
            feed = Feed(names, _poll_cursor(names, position, last), self._settings)
        else:
            feed = Feed(names, _cursor(names, position, last), self._settings)
        self._attach(feed)
        return Subscription(feed, on_gap=on_gap, leave=self._detach)

    def watch(self, entity: str, id: Any) -> EntityWatch:  # noqa: A002 - what it is
        """Watch an entity: its present state, then each that follows.

        Watches have a WebSocket of their own, whatever the transport of subscriptions is.

        Args:
            entity: Its kind.
            id: Which one: text, an integer or a UUID.

        Returns:
            A watch to iterate over. What cannot be watched raises there.

        Raises:
            GrammarError: The kind or the id is none.
            LineClosedError: The client is not entered, or was left.
        """
        key = entity_key(entity, id)
        if self._tasks is None:
            raise LineClosedError("the client is closed: use it within `async with client:`")
        watch = EntityWatch(key, self._entities)
        self._entities.add(watch)
        if self._watching is None or self._watching.done():
            self._watching = self._tasks.create_task(self._entities.run())
        return watch

    def presence(self, channel: str) -> ChannelPresence:
        """Return who is on a channel.

        Args:
            channel: The channel's name.

        Raises:
            GrammarError: The name is outside the grammar, or a pattern.
        """
        (name,) = check_followed([channel], max_channels=1)
        return ChannelPresence(name, self._endpoint, self._settings)

    def set_secret(self, secret: str | None) -> None:
        """Set the secret that the server's fetches are given; what is watched is asked for anew.

        Args:
            secret: Any text, or None for none.
        """
        self._entities.set_secret(secret)

    def _attach(self, feed: AnyFeed) -> None:
        if self._tasks is None:
            raise LineClosedError("the client is closed: use it within `async with client:`")
        self._links = [one for one in self._links if one[0].feeds]
        for link, _ in self._links:
            if link.accepts(feed):
                link.add(feed)
                return
        fresh = self._new_link()
        fresh.add(feed)
        self._links.append((fresh, self._tasks.create_task(fresh.run())))

    def _new_link(self) -> Link[Any]:
        if self._settings.transport == "websocket":
            return SocketLink(self._endpoint, self._settings)
        if self._settings.transport == "sse":
            return EventLink(self._endpoint, self._settings)
        # A server holds one poll per client id, so a second connection needs another id.
        taken = {link.client_id for link, _ in self._links if isinstance(link, PollLink)}
        more = (f"{self._poll_id}-{number}" for number in itertools.count(2))
        client_id = next(one for one in itertools.chain([self._poll_id], more) if one not in taken)
        return PollLink(self._endpoint, self._settings, client_id=client_id)

    def _detach(self, feed: AnyFeed) -> None:
        for link, task in self._links:
            if feed in link.feeds:
                link.remove(feed)
                if not link.feeds:
                    task.cancel()
        self._links = [one for one in self._links if one[0].feeds]

    async def publish(self, channel: str, data: Any, **options: Unpack[PublishOptions]) -> Receipt:
        """Publish one message, durably and once.

        A failed attempt is repeated under the same idempotency key until *publish_timeout*.

        Args:
            channel: The channel's name.
            data: Any JSON value.
            **options: See :class:`~trunkline.channels.drafting.PublishOptions`; without a key
                one is made.

        Returns:
            The receipt with the message's ids.

        Raises:
            UsageError: The call can't be accepted as it is; nothing was stored.
            AccessDeniedError: The server does not let this client publish.
            KeyReusedError: The key was used for other content.
            ServerUnavailableError: The server could not be reached in time.
        """
        return (await self._publisher.publish([(channel, data, options)], is_batch=False))[0]

    async def publish_many(self, messages: Iterable[Publication]) -> Sequence[Receipt]:
        """Publish several messages in one commit, all or none, and once.

        Args:
            messages: Tuples of channel, data and, if need be, options; at most 1000.

        Returns:
            A receipt for each, in their order.

        Raises:
            UsageError: As for :meth:`publish`; the message names the index.
            ServerUnavailableError: As for :meth:`publish`.
        """
        return await self._publisher.publish(messages, is_batch=True)


def _cursor(names: Sequence[str], position: Place, last: int | None) -> Cursor:
    if isinstance(position, Mapping):
        raise GrammarError("message ids per channel are for polling: use a position of the line")
    start: Start = Edge.NOW
    if isinstance(position, Position):
        start = position
    elif position is not None:
        start = parse_start(str(position))
    return Cursor(start, last=check_last(last, names, start))


def _poll_cursor(names: Sequence[str], position: Place, last: int | None) -> PollCursor:
    if patterns := [name for name in names if is_pattern(name)]:
        raise GrammarError(f"polling knows no patterns: name the channels of {patterns[0]!r}")
    if isinstance(position, Mapping):
        if last is not None or not set(names) <= position.keys():
            raise GrammarError("give a message id for each channel, and no last")
        return PollCursor({name: _message_id(position[name]) for name in names})
    if position not in {None, 0, "0"}:
        raise GrammarError("polling counts per channel: use position={channel: message id} or 0")
    start = Edge.NOW if position is None else Edge.OLDEST
    count = check_last(last, names, start)
    first = -1 if position is None else 0
    # The protocol's -N is the last N-1 messages.
    return PollCursor(dict.fromkeys(names, first if count is None else -1 - count))


def _message_id(given: object) -> int:
    if not isinstance(given, int) or isinstance(given, bool):
        raise GrammarError(f"{given!r} is no message id: use an integer")
    return given
