"""A transaction as an application sees it: its own SQL, and publishes that share its fate."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Unpack

import msgspec

from trunkline.channels.backlog import Backlog
from trunkline.channels.drafting import PublishOptions, draft_of
from trunkline.model import codec
from trunkline.model.message import Draft, Message, Receipt
from trunkline.sql.database import Dialect, Row
from trunkline.store.unit import UnitOfWork

Drafting = Callable[[str, Any, PublishOptions], Draft | None]
Reading = Callable[..., Awaitable[Backlog]]


class PendingMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Be a message that is published when its transaction commits; it has no ids before.

    Args:
        channel: The channel's name.
        site_id: Its tenant, or None.
        data: The decoded value.
        headers: What the publisher added.
    """

    channel: str
    site_id: str | None
    data: Any
    headers: dict[str, Any]


class LineTransaction:
    """Run SQL and publish, all or nothing; made by ``line.transaction()``.

    Placeholders are the database's own: ``?`` in SQLite, ``$1`` in PostgreSQL.

    Args:
        unit: The unit of work.
        draft: Checks a publish; None when publishing is off.
        backlog: Reads a channel.
    """

    def __init__(self, unit: UnitOfWork, *, draft: Drafting, backlog: Reading) -> None:
        self._unit = unit
        self._draft = draft
        self._backlog = backlog

    @property
    def dialect(self) -> Dialect:
        """Name the dialect of SQL: ``sqlite`` or ``postgres``."""
        return self._unit.dialect

    async def execute(self, statement: str, *values: Any) -> int:
        """Run a statement and return how many rows it touched.

        Args:
            statement: Plain SQL.
            *values: One for each placeholder.
        """
        return await self._unit.execute(statement, *values)

    async def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement once for each row of values.

        Args:
            statement: Plain SQL.
            rows: Values for the placeholders.
        """
        await self._unit.execute_many(statement, rows)

    async def write(self, statement: str, *values: Any) -> None:
        """Run a statement whose answer nobody needs, before the next that answers or the end.

        On PostgreSQL several of them share a round trip, so prefer it in read models. What goes
        wrong shows later, yet always before the commit.

        Args:
            statement: Plain SQL.
            *values: One for each placeholder.
        """
        await self._unit.write(statement, *values)

    @property
    def unit(self) -> UnitOfWork:
        """Return the unit of work underneath, for wings."""
        return self._unit

    async def fetch(self, statement: str, *values: Any) -> Sequence[Row]:
        """Run a statement and return its rows, whose values come by index and by name.

        Args:
            statement: Plain SQL.
            *values: One for each placeholder.
        """
        return await self._unit.fetch(statement, *values)

    async def publish(self, channel: str, data: Any, **options: Unpack[PublishOptions]) -> None:
        """Publish when the transaction commits, and only then.

        Args:
            channel: The channel's name.
            data: Any JSON value.
            **options: See :class:`PublishOptions`.

        Raises:
            UsageError: The call can't be accepted as it is, or the transaction is over.
        """
        self._stage([self._draft(channel, data, options)])

    async def publish_many(
        self, messages: Iterable[tuple[str, Any] | tuple[str, Any, PublishOptions]]
    ) -> None:
        """Publish several when the transaction commits.

        Args:
            messages: Tuples of channel, data and, if need be, options.

        Raises:
            UsageError: As for :meth:`publish`; none of them is published then.
        """
        self._stage(
            [self._draft(one[0], one[1], one[2] if len(one) == 3 else {}) for one in messages]
        )

    def publish_internal(self, channel: str, data: Any) -> None:
        """Publish to one of Trunkline's own channels when the transaction commits.

        Args:
            channel: The channel's name.
            data: Any JSON value.

        Raises:
            UsageError: The data can't be accepted, or the transaction is over.
        """
        self._unit.stage([draft_of(channel, data, {}, site_id=None, internal=True)])

    def after_commit(self, callback: Callable[[], Awaitable[object]]) -> None:
        """Have something done in this process once the transaction is committed, and only then.

        It is lost when the process dies in between: publish what must not be.

        Args:
            callback: A coroutine function without arguments; what it raises is only told.
        """
        self._unit.after_commit(callback)

    def _stage(self, drafts: Sequence[Draft | None]) -> None:
        self._unit.stage([draft for draft in drafts if draft is not None])

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """Begin a part, with ``async with``, that is undone by itself when it raises.

        What was published in it is forgotten with it.
        """
        return self._unit.savepoint()

    @property
    def events(self) -> tuple[PendingMessage, ...]:
        """Return what was published so far and not undone, in order."""
        return tuple(map(_pending, self._unit.drafts))

    @property
    def receipts(self) -> Sequence[Receipt]:
        """Return the receipts of :attr:`events`, once the transaction is committed.

        There are none when the log is in another database: the relay then takes the messages
        there.
        """
        return self._unit.receipts

    async def backlog(
        self, channel: str, after: int = 0, *, site_id: str | None = None
    ) -> list[Message | PendingMessage]:
        """Return the kept messages of a channel after a message id, then those of this block.

        Args:
            channel: The channel's name.
            after: A message id; 0 for the oldest kept.
            site_id: The tenant, instead of the one the site lookup gives.
        """
        stored: list[Message | PendingMessage] = list(
            await self._backlog(channel, after, site_id=site_id)
        )
        wanted = self._draft(channel, None, {} if site_id is None else {"site_id": site_id})
        key = None if wanted is None else wanted.channel
        return stored + [_pending(one) for one in self._unit.drafts if one.channel == key]


def _pending(draft: Draft) -> PendingMessage:
    return PendingMessage(
        channel=draft.channel.name,
        site_id=draft.channel.site_id,
        data=codec.decode(draft.data),
        headers=codec.decode(draft.headers) if draft.headers else {},
    )
