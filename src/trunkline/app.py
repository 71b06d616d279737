"""The line: one object that opens the log, starts what runs behind it, and hands out the rooms."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

from trunkline.channels.bus import SiteLookup
from trunkline.channels.caches import CacheFace
from trunkline.channels.consumer_roster import Roster, Workplace
from trunkline.channels.filters import Filters
from trunkline.channels.hub import Hub
from trunkline.channels.listener import Listener
from trunkline.channels.wing import Premises
from trunkline.config import Settings
from trunkline.cqrs.following_face import FollowingFace
from trunkline.errors import ConfigError, LineClosedError
from trunkline.gateway.face import GatewayFace
from trunkline.log.joint import JointLog
from trunkline.log.port import Log
from trunkline.log.registry import engine_for
from trunkline.log.retention import Retention
from trunkline.log.standby import StandbyLog
from trunkline.runtime.clock import Clock, SystemClock
from trunkline.runtime.crew import Crew, Work
from trunkline.runtime.loops import LoopLock, repeat, supervise
from trunkline.runtime.service import Service, Services, chosen
from trunkline.sql.opening import DatabasePlace, place_of
from trunkline.store.outbox import Outbox
from trunkline.store.store import Store
from trunkline.store.tables import Tables
from trunkline.webhooks.face import WebhooksFace


class Trunkline(GatewayFace, CacheFace, FollowingFace, WebhooksFace):
    """Publish once, durably, and have every kind of listener receive it in order.

    A line opens itself at its first use and is then its user's to close; ``async with line:``
    does both. It belongs to the process and the event loop that opened it.

    Args:
        log: URL of the log, such as ``sqlite:///app.db``; by default as the settings say.
        site_lookup: Gives the tenant where a call names none.
        clock: Tells the time.
        **settings: As in :class:`trunkline.config.Settings`; the gateway's too.

    Attributes:
        settings: What was set, and where.
        retention: How long messages are kept; may be changed while the line runs.

    Raises:
        ConfigError: A setting is unknown or out of range, or no engine keeps such a log.
    """

    def __init__(
        self,
        log: str | None = None,
        *,
        site_lookup: SiteLookup | None = None,
        clock: Clock | None = None,
        **settings: Any,
    ) -> None:
        given: Mapping[str, Any] = settings if log is None else {"log": log, **settings}
        self.settings = Settings.load(given)
        self.retention: Retention = self.settings.retention()
        self._clock = clock or SystemClock()
        self._standby = StandbyLog(self._make_engine)
        self._store = self._make_store()
        filters = Filters()
        super().__init__(
            self._standby,
            Hub(self._standby, filters, ring_bytes=self.settings.ring_bytes),
            filters=filters,
            site_lookup=site_lookup or self._default_site(),
            ready=self._be_ready,
            listen=self._run_listener,
        )
        self._roster = Roster(
            Workplace(self._standby, self._hub, self.retention, self._clock),
            transact=self.transaction,
            find_database=lambda: self._store.database,
            every=self.settings.sweep_interval,
        )
        self._crew: Crew | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0
        self._turn = LoopLock()
        self._was_closed = False
        self._options = self.settings.gateway
        self._webhook_settings = self.settings.webhooks
        self._doorways = []
        self._premises = self._make_premises()
        self._services: Services | None = None
        if self.settings.off:
            self.off()
        else:
            self._standby.check()
            self._find_database()

    # -- opening and closing ------------------------------------------------------------------

    async def open(self, *, run_consumers: bool = False) -> Self:
        """Open the log and start what runs behind the line. Idempotent; also after a close.

        Args:
            run_consumers: Whether this process runs its durable consumers, as a worker does.

        Returns:
            The line itself.

        Raises:
            ConfigError: Consumers are declared, and there is no SQL database for them.
            LogError: The log can't be used; the message names the cause and the fix.
            LineClosedError: The line is open in another process or event loop.
        """
        self._check_place()
        async with self._turn:
            if self._crew is None:
                await self._open()
            if run_consumers and self._services is not None:
                self._services.start(self._roster.runners())
        return self

    async def _open(self) -> None:
        crew = Crew("trunkline")
        await self._log.open()
        try:
            await self._store.open(self._standby.engine)
            await self._roster.open()
            await crew.open()
        except BaseException:
            await self._store.close()
            await self._log.close()
            raise
        self._loop, self._process = asyncio.get_running_loop(), os.getpid()
        self._hub.open()
        crew.start("hub", partial(supervise, "hub", self._hub.run))
        every = self.settings.sweep_interval
        crew.start("sweep", partial(repeat, "sweep", self._roster.sweep, every=every))
        self._crew, self._was_closed = crew, False
        self._services = Services(crew)
        try:
            await self._open_wings()
        except BaseException:
            await self._shut(crew)
            raise
        if self.settings.services == "on":
            self.start_services()

    async def close(self) -> None:
        """End the listeners, let them finish the message in hand, and close the log. Idempotent.

        Raises:
            LineClosedError: The line is open in another process or event loop.
        """
        self._check_place()
        async with self._turn:
            self._was_closed = True
            crew, self._crew = self._crew, None
            if crew is not None:
                await self._shut(crew)

    async def _shut(self, crew: Crew) -> None:
        self._crew = None
        try:
            for doorway in self._doorways:
                await doorway.close()
            self._hub.close()
            if self._services is not None:
                self._services.stop()
            await crew.close(grace=self.settings.close_grace)
        finally:
            try:
                await self._close_wings()
            finally:
                self._loop = None
                self._services = None
                self._roster.close()
                await self._store.close()
                await self._log.close()

    async def __aenter__(self) -> Self:
        await self.open_for_use()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def is_open(self) -> bool:
        """Tell whether the log is open."""
        return self._crew is not None

    def _check_place(self) -> None:
        """Refuse a line that somebody else opened: its locks, threads and sockets are theirs."""
        if self._loop is None:
            return
        if self._process != os.getpid():
            raise LineClosedError(
                f"this line was opened in process {self._process}, before a fork: open a line of "
                "its own in each process, after the fork"
            )
        if self._loop is not asyncio.get_running_loop():
            raise LineClosedError(
                "this line was opened in another event loop, and not closed there: use 'async "
                "with line:' in each loop, or make a line per loop"
            )

    async def open_for_use(self) -> None:
        """Open the line unless it is open, or switched off altogether.

        Raises:
            LogError: As for :meth:`open`.
            LineClosedError: As for :meth:`open`.
        """
        if not self.is_off or self._publishes:
            await self.open()

    async def _be_ready(self) -> None:
        if self._loop is asyncio.get_running_loop():
            return
        self._check_place()
        if self.is_off and not self._publishes:
            return  # no engine is opened: what is read from it is empty
        if self._was_closed:
            raise LineClosedError("this line was closed: open it again, or make another")
        await self.open()

    # -- what runs behind ---------------------------------------------------------------------

    def start(self, name: str, work: Work) -> None:
        """Run background work until it returns or the line closes; a failure is told in the log.

        Args:
            name: Names it there.
            work: A coroutine function without arguments.

        Raises:
            LineClosedError: The line is not open.
        """
        if self._crew is None:
            raise LineClosedError("open the line first: background work ends with it")
        self._crew.start(name, work)

    # -- the store ----------------------------------------------------------------------------

    def outboxes(self) -> Sequence[Outbox]:
        """Return what waits for the relays, the line's own first; while the line is open."""
        return self._store.outboxes()

    def services(self) -> Sequence[Service]:
        """Return what a worker runs under these settings' profile, while the line is open.

        Raises:
            ConfigError: There is no such profile.
        """
        found: list[Service] = [
            *self._store.relays,
            *self._roster.runners(),
            *self._wing_services(),
        ]
        return chosen(found, self.settings.profile, self.settings.profiles)

    def start_services(self) -> None:
        """Do a worker's work in this process until the line closes. Idempotent.

        Raises:
            LineClosedError: The line is not open.
            ConfigError: There is no such profile.
        """
        if self._services is None:
            raise LineClosedError("open the line first: a worker's work ends with it")
        self._services.start(self.services())

    def tables(self) -> Tables:
        """Return the tables that the line keeps, to look at; no database is opened."""
        settings = self.settings
        return Tables(
            engine_for(settings.log), settings.log, settings.log_options, self._store.places
        )

    def _relay_if_allowed(self) -> None:
        """Run the relays, those of outboxes attached just now too."""
        mode, running = self.settings.services, self._services
        if running is not None and mode != "off":
            running.start(self._store.relays if mode == "auto" else self.services())

    def _find_database(self) -> DatabasePlace | None:
        settings = self.settings
        engine = engine_for(settings.log)
        if not issubclass(engine, JointLog):
            return None if settings.store is None else place_of(settings.store)
        if settings.store is not None:
            raise ConfigError("this log is in a SQL database and carries the store: drop store=")
        return engine.tables(settings.log, settings.log_options)

    def _make_engine(self) -> Log:
        settings = self.settings
        return engine_for(settings.log).from_url(
            settings.log,
            retention=self.retention,
            clock=self._clock,
            options=settings.log_options,
        )

    def _make_store(self) -> Store:
        store = Store(
            self._find_database,
            clock=self._clock,
            receipt_age=self.settings.receipt_age,
            wanted=self._relay_if_allowed,
        )
        for url in self.settings.outboxes:
            store.attach(place_of(url))
        return store

    def _make_premises(self) -> Premises:
        return Premises(
            bus=self,
            log=self._standby,
            hub=self._hub,
            store=self._store,
            clock=self._clock,
            run=self.start,
        )

    def _default_site(self) -> SiteLookup | None:
        site = self.settings.site_id
        return None if site is None else lambda: site

    def _run_listener(self, listener: Listener) -> None:
        if self._crew is not None:
            self._crew.start(repr(listener), partial(listener.run, asyncio.sleep), finishes=True)

    def __repr__(self) -> str:
        effective = {one.name: one.value for one in self.settings.effective()}
        state = "off" if self.is_off else "open" if self.is_open else "not open"
        return f"<Trunkline {effective['log']} {state}>"
