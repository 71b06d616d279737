"""The port of a log that stands in a SQL database: appends in the same commit as other writes."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol

from trunkline.errors import LogUnavailableError
from trunkline.log.port import Group, Log, Outcome
from trunkline.model.channel import ChannelKey
from trunkline.model.message import Record
from trunkline.sql.database import Database, Transaction
from trunkline.sql.opening import DatabasePlace


class Stretch(NamedTuple):
    """Ask for the end of a stream.

    Args:
        channel: The stream.
        after: The message id from which on nothing is known.
    """

    channel: ChannelKey
    after: int = 0


class Tip(NamedTuple):
    """Be the end of a stream as a transaction sees it.

    Args:
        last_id: The newest message id, 0 for a stream that nothing was ever appended to.
        records: The messages asked for, in order.
        epoch: The line's epoch; empty where nothing is stored.
    """

    last_id: int
    records: Sequence[Record] = ()
    epoch: str = ""


class EarlyLossError(LogUnavailableError):
    """Report a connection that broke where nothing had begun, so that trying again is safe."""


class JointTransaction(Transaction, Protocol):
    """Be a transaction on the log's database that can append to the log too."""

    def lend(self, task: asyncio.Task[Any] | None) -> None:
        """Say which task works in it from now on, for it may not wait for itself."""

    async def pick(self, global_ids: Sequence[int]) -> Sequence[Record]:
        """Return kept messages by their global ids, in order; what is trimmed is left out."""

    async def tips(self, wanted: Sequence[Stretch]) -> Sequence[Tip]:
        """Return the ends of streams as they are stored, all by one look.

        Args:
            wanted: Which, each once.

        Returns:
            One for each, in the same order; what this transaction appends is not in them.
        """

    async def epoch(self) -> str:
        """Return the line's epoch, for who read no stream that could tell."""

    async def hold_tail(self) -> None:
        """Let nobody else append until the end of the transaction, so that the log stands still.

        Locks on tables come first: who appends has theirs before it waits for the tail.
        """

    async def take_tail(self) -> None:
        """Keep all other appenders waiting from here on, so that no version can move any more."""

    async def append(self, groups: Sequence[Group]) -> Sequence[Outcome]:
        """Append at the end of the transaction; it holds once the transaction is committed.

        From here on other publishers may have to wait, so it comes last. A group that is refused
        stores nothing and undoes nothing else.

        Args:
            groups: As for :meth:`trunkline.log.port.Log.append`.

        Returns:
            As for :meth:`trunkline.log.port.Log.append`.
        """

    async def append_last(self, groups: Sequence[Group], *, epoch: str = "") -> Sequence[Outcome]:
        """Append, and let nothing follow but the commit, which may be done with it.

        Args:
            groups: As for :meth:`append`.
            epoch: What the line's must be for the commit to be done; empty for any. In another
                one the groups are refused, or the receipts tell.

        Returns:
            As for :meth:`append`.
        """


class JointLog(Log):
    """Store channels in a SQL database that has room for other tables."""

    @classmethod
    @abstractmethod
    def tables(cls, url: str, options: Mapping[str, Any]) -> DatabasePlace:
        """Say which SQL the database speaks and where our tables are in it, without opening it.

        Args:
            url: As for :meth:`trunkline.log.port.Log.from_url`.
            options: As for :meth:`trunkline.log.port.Log.from_url`.

        Raises:
            ConfigError: The URL or an option makes no sense to this engine.
        """

    @classmethod
    @abstractmethod
    async def missing_steps(cls, url: str, options: Mapping[str, Any]) -> Sequence[str]:
        """Name the migrations of the log that have not run yet, and change nothing.

        Args:
            url: As for :meth:`trunkline.log.port.Log.from_url`.
            options: As for :meth:`trunkline.log.port.Log.from_url`.

        Raises:
            LogError: The database can't be asked.
        """

    @classmethod
    @abstractmethod
    def script(cls, url: str, options: Mapping[str, Any]) -> Iterator[str]:
        """Yield the statements that make the log's tables, for those who run them by hand."""

    @property
    @abstractmethod
    def database(self) -> Database:
        """Return the database, while the log is open.

        Raises:
            LineClosedError: The log is closed.
        """

    @abstractmethod
    async def reset(self, also: Sequence[str] = ()) -> str:
        """Erase every channel, counter and receipt, and start a new epoch.

        Args:
            also: Statements on other tables of the database, run in the same commit, before it.

        Returns:
            The new epoch.
        """

    @abstractmethod
    def transaction(
        self, *, begins_late: bool = False
    ) -> AbstractAsyncContextManager[JointTransaction]:
        """Begin a transaction; leaving it commits, leaving it with an error rolls back.

        Args:
            begins_late: Whether it may begin with its first statement, so that one without any
                before :meth:`JointTransaction.append_last` can be done at once. A connection
                that broke meanwhile is then noticed late, too.

        Raises:
            LogError: The transaction could not be had, or not be committed; nothing was stored.
        """
