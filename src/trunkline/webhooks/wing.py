"""The wing that tells customers' apps: signals in, requests out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

from trunkline.channels.transaction import LineTransaction
from trunkline.channels.wing import Premises
from trunkline.errors import ConfigError, UsageError
from trunkline.model.message import Limits, Message
from trunkline.runtime.service import Service
from trunkline.sql.database import Database
from trunkline.webhooks.apps import Apps
from trunkline.webhooks.callbacks import Callbacks
from trunkline.webhooks.catalogue import Catalogue
from trunkline.webhooks.connections import Connections
from trunkline.webhooks.delivery import Delivery, read_options
from trunkline.webhooks.demuxer import Demuxer, demuxer_class
from trunkline.webhooks.entry import EntryVerifier, StoredTokens
from trunkline.webhooks.firing import CUSTOM, PLAIN, Firing
from trunkline.webhooks.notice import Notice, notice_from
from trunkline.webhooks.outgoing import Prepare, Transmission
from trunkline.webhooks.peers import Peers
from trunkline.webhooks.preparation import Preparation
from trunkline.webhooks.purger import Purger
from trunkline.webhooks.resolution import Resolution
from trunkline.webhooks.seam import Transmitter
from trunkline.webhooks.settings import WebhookOptions
from trunkline.webhooks.signal import Signal
from trunkline.webhooks.transmissions import Transmissions
from trunkline.webhooks.vault import Vault

S = TypeVar("S", bound=Signal)

#: A notice waits for its resolving for as long as that takes.
_KEEP = Limits(None, None)
#: Notices that share a transaction.
_BATCH = 200
_NEEDS_SQL = (
    "signals need a SQL database for apps and transmissions: use a log on SQLite or PostgreSQL, "
    "or set store= to a database beside this log"
)


class Webhooks:
    """Keep apps and connections, fire signals, and have them delivered.

    Args:
        premises: What the wing works with.
        options: The settings.

    Attributes:
        apps: The apps.
        connections: Their installations on accounts.
        transmissions: What was, and is to be, sent.
        delivery: What sends it.
        endpoints: Where it goes, for operators.
        peers: Sibling services that we know.
        callbacks: Events on their way to those.

    Raises:
        ConfigError: The settings make no sense.
    """

    def __init__(self, premises: Premises, options: WebhookOptions) -> None:
        self._premises = premises
        self._options = options
        self._vault = Vault(options.secret_keys)
        self._catalogue = Catalogue()
        self._is_consuming = False
        self._firing = Firing(
            premises, self._catalogue, demuxer_class(options.demuxer), self.resolve_now
        )
        self._services: list[Service] = []
        clock = premises.clock
        self.delivery = Delivery(
            self._database, clock, self.look_up, read_options(options.delivery)
        )
        self.endpoints = self.delivery.endpoints
        self._transmitter: Transmitter = self.delivery
        self.apps = Apps(
            self._database, self._vault, options, clock, check_url=self.delivery.check_url
        )
        self.connections = Connections(self._database, self.apps, clock)
        self.transmissions = Transmissions(self._database, clock)
        self.peers = Peers(self._database, self._vault, clock, grace=options.secret_grace)
        self.callbacks = Callbacks(clock)

    # -- signals ------------------------------------------------------------------------------

    def declare(self, cls: type[S]) -> type[S]:
        """Declare a kind of signal; a decorator. Workers that send it have to declare it too.

        Args:
            cls: The class.

        Returns:
            The same class.

        Raises:
            ConfigError: It lacks something, its demuxer is none, or another has its name.
        """
        self._firing.demuxer_of(cls)
        self._catalogue.declare(cls)
        if not self._is_consuming:
            self._is_consuming = True
            self._consume()
        return cls

    async def fire(
        self,
        signal: Signal,
        action: str,
        *,
        context: Mapping[str, Any] | None = None,
        tx: Any = None,
    ) -> None:
        """Fire a signal, durably, or inside a transaction if and only if that commits.

        Args:
            signal: What it is about.
            action: What happened, such as ``updated``.
            context: What is captured now; part of what makes two signals equal.
            tx: The line's transaction, or one that is open elsewhere, as for ``line.publish``.

        Raises:
            SignalError: It can't be sent as given.
            UnencodableDataError: The context is no strict JSON.
            LogError: It could not be stored.
        """
        await self._firing.fire(signal, action, context, tx)

    def fire_in(
        self, tx: Any, signal: Signal, action: str, *, context: Mapping[str, Any] | None = None
    ) -> None:
        """Fire a signal inside a synchronous transaction, from synchronous code, in any thread.

        Args:
            tx: As for ``line.publish_in``.
            signal: What it is about.
            action: What happened.
            context: What is captured now.

        Raises:
            SignalError: It can't be sent as given.
        """
        self._firing.fire_in(tx, signal, action, context)

    # -- what demuxers work with --------------------------------------------------------------

    async def work(self, job: Mapping[str, Any]) -> None:
        """Do a job that a demuxer gave to a job queue.

        Args:
            job: As it was given; JSON.

        Raises:
            UsageError: It is no such job.
        """
        if set(job) == {"resolve"}:
            await self.resolve_now(notice_from(job["resolve"]))
        elif set(job) == {"transmit"} and isinstance(job["transmit"], list):
            await self.transmit(list(map(str, job["transmit"])))
        else:
            raise UsageError(f"a job is to resolve or to transmit, not {sorted(job)}")

    async def resolve_now(self, notice: Notice) -> None:
        """Resolve a notice in this process, by its demuxer."""
        await self._demuxer(notice).resolve_now()

    async def queue(self, notice: Notice, *, head_start: float = 0.0) -> Sequence[str]:
        """Queue a notice for those who may hear it.

        Args:
            notice: The notice.
            head_start: Seconds that the worker leaves it to somebody else.

        Returns:
            What is queued and equal to it, by delivery id.
        """
        database = await self._database()
        resolution = Resolution(database, self._premises.clock)
        async with database.transaction() as tx:
            await resolution.queue(tx, [notice], head_start=head_start)
            return await resolution.waiting(tx, notice)

    async def transmit(self, ids: Sequence[str]) -> None:
        """Have queued transmissions sent from here, each tried once; failures are recorded."""
        await self._database()
        await self._transmitter.transmit(ids)

    def poke(self) -> None:
        """Have the delivery look for what is due, if it runs in this process."""
        self._transmitter.poke()

    # -- what the delivery works with ---------------------------------------------------------

    def attach(self, transmitter: Transmitter) -> None:
        """Have transmissions sent by somebody else than :attr:`delivery`."""
        self._transmitter = transmitter

    async def look_up(self, transmissions: Sequence[Transmission]) -> Prepare:
        """Look up what a batch of claimed transmissions needs, and return what prepares each."""
        return await self.callbacks.look_up(
            self._own_database, self.peers, transmissions, self._preparation.look_up
        )

    # -- entering apps ------------------------------------------------------------------------

    def entry_verifier(self, app_id: str | None, keys: Sequence[str]) -> EntryVerifier:
        """Return what checks entry tokens for an app that runs on this line, each used once.

        Args:
            app_id: The app's id at its host; None for a host that is Demux.
            keys: Its entry secrets that are valid now.
        """
        clock = self._premises.clock
        used = StoredTokens(self._database, clock)
        return EntryVerifier(app_id, keys, used=used, clock=clock)

    @property
    def service_settings(self) -> Mapping[str, Any]:
        """Return the settings of what services tell each other."""
        return self._options.services

    # -- as a wing ----------------------------------------------------------------------------

    async def open(self) -> None:
        """Check that there is a database.

        Raises:
            ConfigError: There is none.
        """
        _ = self._own_database
        keep, every = self._options.keep, self._options.purge_interval
        self._services = []
        most = self._options.max_backlog
        if keep is not None or most is not None:
            self._services.append(Purger(self.transmissions, keep=keep, most=most, every=every))
        self.delivery.open(self._own_database, self.callbacks.recorded)

    async def close(self) -> None:
        """Forget what belonged to the open line."""
        await self.delivery.close()
        self.__dict__.pop("_preparation", None)

    def services(self) -> Sequence[Service]:
        """Return what a worker runs besides the consumers."""
        return (*self._services, *self.delivery.services())

    # -- inside -------------------------------------------------------------------------------

    @property
    def _own_database(self) -> Database:
        found = self._premises.store.database
        if found is None:
            raise ConfigError(_NEEDS_SQL)
        return found

    async def _database(self) -> Database:
        await self._premises.bus.be_ready()
        return self._own_database

    @cached_property
    def _preparation(self) -> Preparation:
        return Preparation(
            self._own_database, self._catalogue, self._vault, self._options, self._premises.clock
        )

    def _demuxer(self, notice: Notice) -> Demuxer:
        cls = self._catalogue.find(notice.signal_name)
        chosen = (
            demuxer_class(self._options.demuxer) if cls is None else self._firing.demuxer_of(cls)
        )
        return chosen(notice, self)

    def _consume(self) -> None:
        # Both, for a signal may have had another demuxer when it was fired.
        consume = self._premises.bus.consume_internal
        consume("trunkline.signals", PLAIN, self._resolve_all, batch=_BATCH, keep=_KEEP, key=_own)
        consume("trunkline.demux", CUSTOM, self._resolve, keep=_KEEP, key=_own)

    async def _resolve_all(self, messages: Sequence[Message], tx: LineTransaction) -> None:
        """Queue what some notices are about, in the transaction that says they are done."""
        notices = [notice_from(message.data) for message in messages]
        await Resolution(self._own_database, self._premises.clock).queue(tx, notices)
        tx.after_commit(self._poke)

    async def _resolve(self, message: Message) -> None:
        await self._demuxer(notice_from(message.data)).resolve()

    async def _poke(self) -> None:
        self.poke()


def _own(message: Message) -> str:
    """Let no notice wait behind another one that fails."""
    return str(message.global_id)
