"""Publishing inside a transaction: the line's own, or one that another library has open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Unpack

from trunkline.channels.bus import Bus, Publication
from trunkline.channels.drafting import PublishOptions, draft_of
from trunkline.channels.transaction import LineTransaction
from trunkline.model.message import Draft, Receipt
from trunkline.sql.opening import place_of
from trunkline.store.store import Store
from trunkline.store.unit import UnitOfWork


class TransactionalBus(Bus):
    """Publish, also inside transactions."""

    #: Set by whoever makes the bus, before its first use.
    _store: Store

    def publish(
        self, channel: str, data: Any, *, tx: Any = None, **options: Unpack[PublishOptions]
    ) -> Coroutine[Any, Any, Receipt | None]:
        """Publish one message, durably, or inside a transaction if and only if that commits.

        Args:
            channel: The channel's name.
            data: Any JSON value.
            tx: A transaction that is open elsewhere: a SQLAlchemy Session or Connection (async
                ones too), Django's connection, or a connection of psycopg, asyncpg, sqlite3 or
                aiosqlite. The message reaches the log right after its commit.
            **options: See :class:`PublishOptions`.

        Returns:
            The receipt with the message's ids; None inside a transaction, and when publishing
            is off.

        Raises:
            UsageError: The call can't be accepted as it is; nothing was stored.
            KeyReusedError: The key was used for other content.
            LogError: The engine could not store it.
        """
        # Handing the coroutine on, rather than awaiting it, costs no frame per publish.
        if tx is None:
            return super().publish(channel, data, **options)
        return self._leave_one(tx, channel, data, options)

    def publish_many(
        self, messages: Iterable[Publication], *, tx: Any = None
    ) -> Coroutine[Any, Any, Sequence[Receipt]]:
        """Publish several messages, all or none, in one commit or inside a transaction.

        Args:
            messages: Tuples of channel, data and, if need be, options.
            tx: As for :meth:`publish`.

        Returns:
            A receipt for each, in their order; none inside a transaction, and when publishing
            is off.

        Raises:
            UsageError: As for :meth:`publish`; the message names the index.
            ConflictError: As for :meth:`publish`.
            LogError: As for :meth:`publish`.
        """
        if tx is None:
            return super().publish_many(messages)
        return self._leave_many(tx, messages)

    def publish_in(
        self, tx: Any, channel: str, data: Any, **options: Unpack[PublishOptions]
    ) -> None:
        """Publish inside a synchronous transaction, from synchronous code, in any thread.

        Args:
            tx: As for :meth:`publish`, but no asynchronous one.
            channel: The channel's name.
            data: Any JSON value.
            **options: See :class:`PublishOptions`.

        Raises:
            UsageError: The call can't be accepted as it is; nothing was stored.
        """
        if draft := self._drafted(channel, data, options):
            self._store.publish_now(tx, [draft])

    async def relay(self) -> None:
        """Open the line and carry what transactions leave from here, if the settings let it.

        For those who publish with :meth:`publish_in` alone: :meth:`publish` sees to it itself.
        """
        await self._ready()
        await self._store.run_relays()

    def attach_outbox(self, database: Any) -> None:
        """Publish inside transactions on another database too; its outbox is made there.

        Say it before the line is opened, so that no transaction has to wait for it. A SQLite
        file is put into write-ahead mode.

        Args:
            database: A URL such as ``postgresql://host/shop``, or a SQLAlchemy engine.

        Raises:
            ConfigError: It is neither, or a database we don't know.
        """
        self._store.attach(place_of(database))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[LineTransaction]:
        """Begin a transaction on the line's own database, for ``async with``.

        Leaving the block commits what was written and published in it; an error that leaves it
        undoes all of it. On SQLite nobody else can write meanwhile, so keep it short.

        Raises:
            ConfigError: The line has no SQL database.
            ConflictError: A key was used for other content; nothing was stored.
            LogError: The database failed; nothing was stored.
        """
        await self._ready()
        async with self._store.transaction() as unit:
            yield self.transaction_over(unit)
        await unit.settle()

    def transaction_over(self, unit: UnitOfWork) -> LineTransaction:
        """Return a unit of work as applications see it; for wings that begin their own.

        Args:
            unit: The unit of work.
        """
        return LineTransaction(unit, draft=self._drafted, backlog=self.backlog)

    def _drafted(self, channel: str, data: Any, options: PublishOptions) -> Draft | None:
        if not self._publishes:
            return None
        return draft_of(channel, data, options, site_id=self._site())

    async def _leave_one(
        self, tx: Any, channel: str, data: Any, options: PublishOptions
    ) -> Receipt | None:
        if draft := self._drafted(channel, data, options):
            await self._ready()
            await self._store.publish(tx, [draft])
        return None

    async def _leave_many(self, tx: Any, messages: Iterable[Publication]) -> Sequence[Receipt]:
        if self._publishes and (drafts := self._drafts(messages)):
            await self._ready()
            await self._store.publish(tx, drafts)
        return ()
