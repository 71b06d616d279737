"""A bus with durable consumers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar, Unpack, overload

import msgspec

from trunkline.channels.bus import SubscribeOptions
from trunkline.channels.consumer import ConsumerHandler, ConsumerOptions, Wants, consumer_of
from trunkline.channels.consumer_roster import Roster
from trunkline.channels.consumers import Consumers
from trunkline.channels.transactions import TransactionalBus
from trunkline.model.channel import channel_key
from trunkline.model.interest import Interest

H = TypeVar("H", bound=ConsumerHandler)


class ConsumingBus(TransactionalBus):
    """Publish, subscribe, and consume durably."""

    #: Set by whoever makes the bus, before its first use.
    _roster: Roster

    @overload
    def consumer(
        self, name: str, channels: str | Iterable[str], **options: Unpack[ConsumerOptions]
    ) -> Callable[[H], H]: ...

    @overload
    def consumer(
        self,
        name: str,
        channels: str | Iterable[str],
        *,
        handler: H,
        **options: Unpack[ConsumerOptions],
    ) -> H: ...

    def consumer(
        self,
        name: str,
        channels: str | Iterable[str],
        *,
        handler: H | None = None,
        **options: Unpack[ConsumerOptions],
    ) -> H | Callable[[H], H]:
        """Declare a durable consumer, which workers run; a decorator unless a handler is given.

        Its position is kept in the store, and it goes on there after any crash. A handler that
        takes a message alone is called at least once for each. One that takes a second argument
        gets the transaction that the position is committed in: what it writes and publishes
        through that happens exactly once.

        Args:
            name: Names it; several processes share the work of one name, one at a time.
            channels: A name or pattern, or several.
            handler: The function or coroutine function.
            **options: See :class:`ConsumerOptions`.

        Returns:
            The handler, unchanged.

        Raises:
            ConfigError: Something makes no sense; the message says what.
            GrammarError: A channel, pattern, site or position is outside the grammar.
        """
        names = [channels] if isinstance(channels, str) else list(channels)
        chosen: SubscribeOptions = {}
        if "site_id" in options:
            chosen["site_id"] = options["site_id"]
        interest = self._interest(names, chosen)

        def declare(function: H) -> H:
            self._roster.declare(consumer_of(name, interest, function, options))
            return function

        return declare if handler is None else declare(handler)

    def consume_internal(
        self,
        name: str,
        channel: str,
        handler: ConsumerHandler,
        *,
        group: str = "",
        **options: Unpack[ConsumerOptions],
    ) -> None:
        """Declare a durable consumer of one of Trunkline's own channels.

        Args:
            name: Names it.
            channel: The channel's name.
            handler: As for :meth:`consumer`.
            group: What profiles may name it by together with others.
            **options: See :class:`ConsumerOptions`.

        Raises:
            ConfigError: Something makes no sense; the message says what.
        """
        interest = Interest(frozenset({channel_key(channel)}))
        consumer = consumer_of(name, interest, handler, options)
        self._roster.declare(msgspec.structs.replace(consumer, group=group))

    def consume_records(
        self,
        name: str,
        interest: Interest,
        handler: ConsumerHandler,
        *,
        wants: Wants | None = None,
        group: str = "",
        **options: Unpack[ConsumerOptions],
    ) -> None:
        """Declare a durable consumer of records as the log keeps them; for wings.

        Args:
            name: Names it.
            interest: Which channels.
            handler: Takes a record (or, with ``batch``, a list) and, as a second argument, the
                transaction that the position is committed in.
            wants: Says which records it handles at all.
            group: What profiles may name it by together with others.
            **options: See :class:`ConsumerOptions`.

        Raises:
            ConfigError: Something makes no sense; the message says what.
        """
        consumer = consumer_of(name, interest, handler, options)
        consumer = msgspec.structs.replace(consumer, is_raw=True, wants=wants, group=group)
        self._roster.declare(consumer)

    @property
    def consumers(self) -> Consumers:
        """Return what looks after consumers: list, lag, pause, resume, seek, retry, skip."""
        return Consumers(self._roster, self._ready)
