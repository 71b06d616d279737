"""The bus: publish, subscribe and read, as an application calls them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, TypedDict, Unpack, overload

from trunkline.channels.backlog import Backlog, read_backlog, read_global_backlog
from trunkline.channels.drafting import PublishOptions, draft_of
from trunkline.channels.filters import Decide, Filters, MessageFilter
from trunkline.channels.hub import Hub
from trunkline.channels.listener import Handler, Listener
from trunkline.channels.subscription import OnGap, Start, Subscription
from trunkline.errors import GrammarError, TrunklineError
from trunkline.log.port import Log
from trunkline.model.channel import ChannelKey, channel_key, check_readable, check_site
from trunkline.model.interest import ANY_SITE, Interest, PatternInterest
from trunkline.model.message import Draft, Message, Receipt, message_of
from trunkline.model.pattern import channel_pattern, is_pattern
from trunkline.model.position import Position, parse_position

Publication = tuple[str, Any] | tuple[str, Any, PublishOptions]
SiteLookup = Callable[[], str | None]
Ready = Callable[[], Awaitable[None]]
Listen = Callable[[Listener], None]


class SubscribeOptions(TypedDict, total=False):
    """Be the options of a subscription; at most one of the first three.

    Attributes:
        position: Begin after this position (its text will do); 0 for the oldest kept.
        after: Begin after this message id; for one channel by name.
        last: Begin with the last so many messages; for channels by name.
        site_id: The tenant, instead of the one the site lookup gives; ``ANY_SITE`` for all.
        on_gap: Takes a gap, instead of :class:`GapError`.
    """

    position: Position | str | int | None
    after: int | None
    last: int | None
    site_id: str | None
    on_gap: OnGap | None


class Bus:
    """Publish to channels and listen to them.

    Args:
        log: The log.
        hub: This process's hub on it.
        filters: Message filters for clients.
        site_lookup: Gives the tenant where a call names none.
        ready: Opens the log if need be; awaited before the first use.
        listen: Runs a listener until it is closed.
    """

    def __init__(
        self,
        log: Log,
        hub: Hub,
        *,
        filters: Filters,
        site_lookup: SiteLookup | None = None,
        ready: Ready,
        listen: Listen,
    ) -> None:
        self._log = log
        self._hub = hub
        self._filters = filters
        self._site_lookup = site_lookup
        self._ready = ready
        self._listen = listen
        self._is_off = False
        self._publishes = True

    # -- publishing ---------------------------------------------------------------------------

    async def publish(
        self, channel: str, data: Any, **options: Unpack[PublishOptions]
    ) -> Receipt | None:
        """Publish one message, durably.

        Args:
            channel: The channel's name.
            data: Any JSON value.
            **options: See :class:`PublishOptions`.

        Returns:
            The receipt with the message's ids; None when publishing is off.

        Raises:
            UsageError: The call can't be accepted as it is; nothing was stored.
            KeyReusedError: The key was used for other content.
            LogError: The engine could not store it.
        """
        if not self._publishes:
            return None
        draft = draft_of(channel, data, options, site_id=self._site())
        return (await self._append((draft,)))[0]

    async def publish_many(self, messages: Iterable[Publication]) -> Sequence[Receipt]:
        """Publish several messages in one commit, all or none.

        Args:
            messages: Tuples of channel, data and, if need be, options.

        Returns:
            A receipt for each, in their order; none when publishing is off.

        Raises:
            UsageError: As for :meth:`publish`; the message names the index.
            ConflictError: As for :meth:`publish`.
            LogError: As for :meth:`publish`.
        """
        if not self._publishes:
            return ()
        drafts = self._drafts(messages)
        return await self._append(drafts) if drafts else ()

    def _drafts(self, messages: Iterable[Publication]) -> list[Draft]:
        site = self._site()
        return [_draft(index, one, site) for index, one in enumerate(messages)]

    async def publish_internal(
        self, channel: str, data: Any, **options: Unpack[PublishOptions]
    ) -> Receipt:
        """Publish to one of Trunkline's own channels, also when publishing is off."""
        draft = draft_of(channel, data, options, site_id=None, internal=True)
        return (await self._append((draft,)))[0]

    async def _append(self, drafts: Sequence[Draft]) -> Sequence[Receipt]:
        await self._ready()
        outcome = (await self._log.append((drafts,)))[0]
        if isinstance(outcome, TrunklineError):
            raise outcome
        return outcome

    # -- listening ----------------------------------------------------------------------------

    @overload
    def subscribe(
        self, channels: str | Iterable[str], **options: Unpack[SubscribeOptions]
    ) -> Subscription: ...

    @overload
    def subscribe(
        self, channels: str | Iterable[str], handler: Handler, **options: Unpack[SubscribeOptions]
    ) -> Coroutine[Any, Any, Listener]: ...

    def subscribe(
        self,
        channels: str | Iterable[str],
        handler: Handler | None = None,
        **options: Unpack[SubscribeOptions],
    ) -> Subscription | Coroutine[Any, Any, Listener]:
        """Listen to channels, by name or pattern.

        Args:
            channels: A name or pattern, or several.
            handler: A function or coroutine function that is called with each message.
            **options: See :class:`SubscribeOptions`; without a start, from the end.

        Returns:
            Without a handler a subscription to iterate over; with one a coroutine, whose result
            is a listener that is certain to see whatever is published from then on.

        Raises:
            GrammarError: A name, pattern, site or position is outside the grammar.
        """
        names = [channels] if isinstance(channels, str) else list(channels)
        interest = self._interest(names, options)
        start = self._start(names, options)
        subscription = Subscription(
            self._log,
            self._hub,
            interest,
            start=start,
            on_gap=options.get("on_gap"),
            ready=self._ready,
        )
        if self._is_off:
            subscription.close()
        return subscription if handler is None else self._start_listener(subscription, handler)

    async def _start_listener(self, subscription: Subscription, handler: Handler) -> Listener:
        await subscription.open()
        listener = Listener(subscription, handler)
        self._listen(listener)
        return listener

    def _interest(self, names: Sequence[str], options: SubscribeOptions) -> Interest:
        site = self._site_of(options)
        keys: set[ChannelKey] = set()
        patterns: set[PatternInterest] = set()
        for name in names:
            if is_pattern(name) or site == ANY_SITE:
                channel_pattern(name)
                patterns.add(PatternInterest(name, site))
            else:
                keys.add(self._key(name, site))
        if not keys and not patterns:
            raise GrammarError("subscribe to at least one channel")
        return Interest(frozenset(keys), frozenset(patterns))

    def _start(self, names: Sequence[str], options: SubscribeOptions) -> Start:
        position = options.get("position")
        after, last = options.get("after"), options.get("last")
        if sum(one is not None for one in (position, after, last)) > 1:
            raise GrammarError("say one of position, after and last")
        if position is not None:
            if not isinstance(position, Position):
                position = parse_position(str(position))
            return Start(position=position, from_oldest=position is None)
        if after is None and last is None:
            return Start()
        number = after if after is not None else last
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise GrammarError(
                f"{'last' if after is None else 'after'}={number!r} must be 0 or more"
            )
        site = self._site_of(options)
        if (
            any(map(is_pattern, names))
            or site == ANY_SITE
            or (after is not None and len(names) > 1)
        ):
            raise GrammarError("message ids count per channel: name the channel, or use a position")
        unread = {self._key(name, site): number for name in names}
        return Start(after=unread, count=last)

    def add_filter(self, prefix: str, decide: Decide) -> MessageFilter:
        """Ask *decide* for each message and client on channels that start with *prefix*.

        Args:
            prefix: Start of the channel names.
            decide: Called with message and viewer; a false answer withholds the message. The
                last added is asked first, and all must agree.

        Returns:
            The filter, for :meth:`remove_filter`.
        """
        return self._filters.add(prefix, decide)

    def remove_filter(self, added: MessageFilter) -> None:
        """Take a filter back."""
        self._filters.remove(added)

    # -- reading ------------------------------------------------------------------------------

    async def last_id(self, channel: str, *, site_id: str | None = None) -> int:
        """Return the newest message id of a channel, 0 if nothing was ever published."""
        return (await self.last_ids([channel], site_id=site_id))[channel]

    async def last_ids(
        self, channels: Iterable[str], *, site_id: str | None = None
    ) -> Mapping[str, int]:
        """Return the newest message id of each channel, all read at one moment.

        Args:
            channels: Names.
            site_id: The tenant, instead of the one the site lookup gives.
        """
        keys = {name: self._key(name, self._site(site_id)) for name in channels}
        await self._ready()
        heads = await self._log.last_ids(keys.values())
        return {name: heads.ids[key] for name, key in keys.items()}

    async def position(self) -> Position:
        """Return the end of the line: read your state after asking, then subscribe from here."""
        await self._ready()
        heads = await self._log.last_ids(())
        return Position(heads.epoch, heads.head)

    async def last_message(self, channel: str, *, site_id: str | None = None) -> Message | None:
        """Return the newest message of a channel, or None when none is kept."""
        key = self._key(channel, self._site(site_id))
        await self._ready()
        last = (await self._log.last_ids([key])).ids[key]
        page = await self._log.read(key, max(0, last - 1))
        return message_of(page.records[-1], page.epoch) if page.records else None

    async def message(
        self, channel: str, message_id: int, *, site_id: str | None = None
    ) -> Message | None:
        """Return one message of a channel by its id, or None when it is not kept."""
        key = self._key(channel, self._site(site_id))
        await self._ready()
        page = await self._log.read(key, message_id - 1, 1)
        found = [one for one in page.records if one.message_id == message_id]
        return message_of(found[0], page.epoch) if found else None

    async def backlog(
        self, channel: str, after: int = 0, *, limit: int | None = None, site_id: str | None = None
    ) -> Backlog:
        """Return the kept messages of a channel after a message id.

        Args:
            channel: The channel's name.
            after: A message id; 0 for the oldest kept.
            limit: Messages at most; None for all.
            site_id: The tenant, instead of the one the site lookup gives.

        Returns:
            A list of messages that also says what was trimmed.
        """
        key = self._key(channel, self._site(site_id))
        await self._ready()
        return await read_backlog(self._log, key, after, limit)

    async def global_backlog(
        self, after: int = 0, *, limit: int | None = None, site_id: str | None = None
    ) -> Backlog:
        """Return the kept messages of all channels after a global id, in global order.

        Args:
            after: A global id; 0 for the oldest kept.
            limit: Messages at most; None for all.
            site_id: Only this tenant's and global channels; by default the site that the
                lookup gives, and all sites where there is no lookup.
        """
        site = ANY_SITE if site_id is None and self._site_lookup is None else self._site(site_id)
        await self._ready()
        interest = Interest(patterns=frozenset({PatternInterest("/**", site)}))
        return await read_global_backlog(self._log, interest, after, limit)

    async def trim(self, channel: str, upto: int, *, site_id: str | None = None) -> int:
        """Make the messages of a channel up to a message id unreadable.

        Returns:
            How many messages are gone.

        Raises:
            ChannelKindError: The channel is a stream.
        """
        await self._ready()
        return await self._log.trim(self._key(channel, self._site(site_id)), upto)

    async def reset(self) -> None:
        """Erase the line, counters included, and start a new epoch: for tests."""
        await self._ready()
        await self._log.reset()

    # -- switching off ------------------------------------------------------------------------

    def off(self, *, disable_publish: bool = True) -> None:
        """Make later subscriptions empty and, unless told otherwise, publishes no-ops.

        Args:
            disable_publish: Whether publishes are dropped too.
        """
        self._is_off = True
        self._publishes = not disable_publish

    def on(self) -> None:
        """Switch on again, for subscriptions and publishes made from now on."""
        self._is_off = False
        self._publishes = True

    @property
    def publishes(self) -> bool:
        """Tell whether publishes are stored; they are dropped while it is false."""
        return self._publishes

    @property
    def is_off(self) -> bool:
        """Tell whether :meth:`off` holds."""
        return self._is_off

    # -- names --------------------------------------------------------------------------------

    def _site(self, given: str | None = None) -> str | None:
        if given is not None:
            return check_site(given)
        return check_site(self._site_lookup()) if self._site_lookup else None

    def _site_of(self, options: SubscribeOptions) -> str | None:
        return self._site(options.get("site_id"))

    def _key(self, name: str, site: str | None) -> ChannelKey:
        key = channel_key(check_readable(name), site)
        if key.is_internal:
            raise GrammarError(f"{name!r} is reserved for Trunkline itself")
        return key


def _draft(index: int, message: Publication, site: str | None) -> Draft:
    options: PublishOptions = message[2] if len(message) == 3 else {}
    try:
        return draft_of(message[0], message[1], options, site_id=site)
    except TrunklineError as error:
        error.add_note(f"in message {index} of the batch")
        raise
