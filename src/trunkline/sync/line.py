"""The line for code that can't await: every verb of :class:`trunkline.Trunkline`, waiting."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar, Unpack

from trunkline.app import Trunkline as AsyncTrunkline
from trunkline.channels.backlog import Backlog
from trunkline.channels.bus import Publication, SiteLookup, SubscribeOptions
from trunkline.channels.consumer import ConsumerHandler, ConsumerOptions
from trunkline.channels.drafting import PublishOptions
from trunkline.channels.listener import Handler
from trunkline.errors import LineClosedError
from trunkline.model.message import Message, Receipt
from trunkline.runtime.clock import Clock
from trunkline.runtime.portal import Portal, Visit
from trunkline.sync.forks import Gate, watch
from trunkline.sync.iteration import Iteration
from trunkline.sync.listening import SyncListener
from trunkline.sync.mirror import Block, Gated, bare, mirrored, threaded

H = TypeVar("H", bound=ConsumerHandler)

#: Seconds that a fork waits for the calls under way.
FORK_PATIENCE = 10.0


class Trunkline:
    """Publish, read, listen and all else, from code that can't await.

    Every call runs on one event loop in a background thread, which starts with the first call.
    What is not listed here (commands, signals, entities, operators' calls) works too: each verb of
    the asynchronous line waits for its result, blocks become ``with`` blocks, and iterators plain
    ones. A line may be used from any thread. When the process forks, the line is closed before and
    both processes go on by themselves: listeners and iterations resume at their positions.

    Args:
        log: URL of the log, such as ``sqlite:///app.db``; by default as the settings say.
        site_lookup: Gives the tenant where a call names none; sees the caller's context variables.
        clock: Tells the time.
        **settings: As in :class:`trunkline.config.Settings`.

    Raises:
        ConfigError: A setting is unknown or out of range, or no engine keeps such a log.
    """

    #: Makes the line itself.
    factory: ClassVar[Callable[..., AsyncTrunkline]] = AsyncTrunkline

    def __init__(
        self,
        log: str | None = None,
        *,
        site_lookup: SiteLookup | None = None,
        clock: Clock | None = None,
        **settings: Any,
    ) -> None:
        given = settings if log is None else {"log": log, **settings}
        if clock is not None:
            given["clock"] = clock
        self._line = self.factory(site_lookup=site_lookup, **given)
        self._portal = Portal("trunkline")
        self._gate = Gate()
        self._listeners: list[SyncListener] = []
        self._generation = 0
        self._forks_inside = self._pauses = self._relays = False
        self._opening = threading.Lock()
        self._reopens = False
        watch(self)

    @property
    def asynchronous(self) -> AsyncTrunkline:
        """Return the line itself, for handlers that run on its loop, and for gateways."""
        return self._line

    # -- opening and closing ------------------------------------------------------------------

    def open(self) -> Self:
        """Open the log; the first use does it too. Idempotent; also after a close.

        Raises:
            LogError: The log can't be used; the message names the cause and the fix.
        """
        if not self._portal.is_running:
            self._portal = Portal("trunkline")
        self.call_gated(self._line.open)
        return self

    def open_once(self) -> None:
        """Open the line if it is not open; it costs next to nothing if it is."""
        if not self._line.is_open:
            self.open()

    def close(self) -> None:
        """End the listeners and iterations, close the log and end the thread. Idempotent."""
        self._listeners.clear()
        self._shut()

    async def settle_here(self) -> None:
        """Run on the loop that runs here from now on: an ASGI server's, whose gateway shares it.

        Code in other threads calls the line as before; code on the loop awaits
        :attr:`asynchronous`, and closes that.
        """
        if self._portal.is_inside and self._portal.is_running:
            return
        self._gate.shut(0)
        try:
            if self._portal.is_running:
                await asyncio.to_thread(self._leave)
            self._portal = Portal.here("trunkline")
        finally:
            self._gate.open()
        await asyncio.to_thread(self._resume)

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _shut(self) -> None:
        if self._portal.is_running:
            try:
                self._portal.call(self._line.close)
            finally:
                self._portal.close()
        self._relays = False

    # -- publishing ---------------------------------------------------------------------------

    def publish(
        self, channel: str, data: Any, *, tx: Any = None, **options: Unpack[PublishOptions]
    ) -> Receipt | None:
        """Publish one message, durably, or inside a transaction if and only if that commits.

        Args:
            channel: The channel's name.
            data: Any JSON value.
            tx: A synchronous transaction that is open here: Django's connection, a SQLAlchemy
                Session or Connection, or a connection of psycopg or sqlite3; or what
                :meth:`transaction` gave.
            **options: See :class:`trunkline.channels.drafting.PublishOptions`.

        Returns:
            The receipt with the message's ids; None inside a transaction, and when publishing
            is off.

        Raises:
            UsageError: The call can't be accepted as it is; nothing was stored.
            KeyReusedError: The key was used for other content.
            LogError: The engine could not store it.
        """
        if tx is None:
            receipt: Receipt | None = self.call_gated(self._line.publish, channel, data, **options)
            return receipt
        if bare(tx) is not tx:
            tx.publish(channel, data, **options)
        else:
            self._relay()
            self._line.publish_in(tx, channel, data, **options)
        return None

    def publish_many(self, messages: Iterable[Publication], *, tx: Any = None) -> Sequence[Receipt]:
        """Publish several messages, all or none, in one commit or inside a transaction.

        Args:
            messages: Tuples of channel, data and, if need be, options.
            tx: As for :meth:`publish`.

        Returns:
            A receipt for each, in their order; none inside a transaction.

        Raises:
            UsageError: As for :meth:`publish`; the message names the index.
            LogError: As for :meth:`publish`.
        """
        if tx is None:
            receipts: Sequence[Receipt] = self.call_gated(self._line.publish_many, list(messages))
            return receipts
        for one in messages:
            self.publish(one[0], one[1], tx=tx, **(one[2] if len(one) == 3 else {}))
        return ()

    def attach_outbox(self, database: Any) -> None:
        """Publish inside transactions on another database too; its outbox is made there.

        Args:
            database: A URL such as ``postgresql://host/shop``, or a SQLAlchemy engine.

        Raises:
            ConfigError: It is neither, or a database we don't know.
            LogError: The line is open, and the database can't be used.
        """
        self._line.attach_outbox(database)
        self._relays = False
        if self._portal.is_running:
            self._relay()

    def _relay(self) -> None:
        """See to it, once, that somebody carries what transactions leave."""
        if not self._relays:
            self.call_gated(self._line.relay)
            self._relays = True

    # -- listening and reading ----------------------------------------------------------------

    def subscribe(
        self,
        channels: str | Iterable[str],
        handler: Handler | None = None,
        **options: Unpack[SubscribeOptions],
    ) -> Iteration | SyncListener:
        """Listen to channels, by name or pattern.

        Args:
            channels: A name or pattern, or several.
            handler: Called with each message, in a thread; it may use the line.
            **options: As for :meth:`trunkline.Trunkline.subscribe`.

        Returns:
            Without a handler an iteration; with one a listener that is certain to see whatever
            is published from then on, to be closed.

        Raises:
            GrammarError: A name, pattern, site or position is outside the grammar.
        """
        names = channels if isinstance(channels, str) else list(channels)
        given: dict[str, Any] = {"channels": names, **options}
        if handler is None:
            return Iteration(self._line.subscribe, self, given, lambda: self._generation)
        listener = SyncListener(self, threaded(handler, self), given)
        self._listeners.append(listener)
        return listener

    def last_id(self, channel: str, *, site_id: str | None = None) -> int:
        """Return the newest message id of a channel, 0 if nothing was ever published."""
        found: int = self.call_gated(self._line.last_id, channel, site_id=site_id)
        return found

    def last_ids(self, channels: Iterable[str], *, site_id: str | None = None) -> Mapping[str, int]:
        """Return the newest message id of each channel, all read at one moment."""
        found: Mapping[str, int] = self.call_gated(self._line.last_ids, channels, site_id=site_id)
        return found

    def last_message(self, channel: str, *, site_id: str | None = None) -> Message | None:
        """Return the newest message of a channel, or None when none is kept."""
        found: Message | None = self.call_gated(self._line.last_message, channel, site_id=site_id)
        return found

    def backlog(
        self, channel: str, after: int = 0, *, limit: int | None = None, site_id: str | None = None
    ) -> Backlog:
        """Return the kept messages of a channel after a message id; 0 for the oldest kept."""
        read = self._line.backlog
        found: Backlog = self.call_gated(read, channel, after, limit=limit, site_id=site_id)
        return found

    def transaction(self) -> Block:
        """Begin a transaction on the line's own database, for ``with``."""
        return Block(self.call_gated(self._line.transaction), self)

    def consumer(
        self,
        name: str,
        channels: str | Iterable[str],
        *,
        handler: H | None = None,
        **options: Unpack[ConsumerOptions],
    ) -> H | Callable[[H], H]:
        """Declare a durable consumer; as :meth:`trunkline.Trunkline.consumer`.

        A plain function runs in a thread; the transaction that it is given waits too.
        """

        def declare(function: H) -> H:
            run: Any = threaded(function, self)
            self._line.consumer(name, channels, handler=run, **options)
            return function

        return declare if handler is None else declare(handler)

    # -- all else -----------------------------------------------------------------------------

    def call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Run a function or coroutine function on the line's loop, and return its result.

        Args:
            function: Any.
            *args: For it.
            **options: For it.
        """
        with self._gate.passing():
            portal = self._ready_portal()
        return portal.call(function, *args, **options)

    def call_gated(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Run a function as :meth:`call` does, but not while the process forks."""
        with self._gate.passing():
            return self._ready_portal().call(function, *args, **options)

    def visit(self) -> Visit:
        """Begin a series of calls that run in one task on the loop, as a transaction's must."""
        with self._gate.passing():
            return self._ready_portal().visit()

    def forget(self, listener: SyncListener) -> None:
        """Resume a listener no more after forks."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def _ready_portal(self) -> Portal:
        if self._forks_inside:
            raise LineClosedError(
                "this process was forked by a handler on the line's own loop: make a line of its "
                "own here"
            )
        with self._opening:
            if self._reopens:
                self._portal.call(self._line.open)
                self._reopens = False
        return self._portal

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name.endswith("_in"):
            self._relay()
            return getattr(self._line, name)  # for somebody else's transaction, in this thread
        return mirrored(getattr(self._line, name), Gated(self))

    # -- forks --------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Close the line for a fork; Python's own forks do it themselves."""
        if self._portal.is_inside or self._portal.is_guest:
            return
        self._gate.shut(FORK_PATIENCE)
        if self._portal.is_running:
            self._leave()
            self._portal = Portal("trunkline")

    def _leave(self) -> None:
        """Close the line, and note where everybody goes on."""
        self._generation += 1
        self._reopens = self._line.is_open
        self._shut()
        for listener in self._listeners:
            listener.pause()
        self._pauses = True

    def after_fork_in_parent(self) -> None:
        """Go on in the process that forked."""
        self._gate.open()
        self._resume()

    def after_fork(self) -> None:
        """Go on in the forked process.

        Python's own forks do it themselves. A server that forks by other means, such as uWSGI,
        calls :meth:`before_fork` before, or forks before the line is used.

        Raises:
            LineClosedError: The line was open when the process forked.
        """
        self._gate, self._opening = Gate(), threading.Lock()
        if self._portal.is_running:
            self._forks_inside = True
            raise LineClosedError(
                "the line was open when this process was forked: call line.before_fork() first, or "
                "fork before its first use"
            )
        self._resume()

    def _resume(self) -> None:
        resumed, self._pauses = self._pauses, False
        for listener in list(self._listeners) if resumed else ():
            listener.resume()

    def __repr__(self) -> str:
        return f"<sync {self._line!r}>"
