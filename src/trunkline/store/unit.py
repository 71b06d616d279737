"""The unit of work: statements of the application and messages of the line, in one commit."""

from __future__ import annotations

import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from trunkline.errors import UsageError
from trunkline.model.message import Draft, Receipt
from trunkline.sql.database import Dialect, Row, Transaction

logger = logging.getLogger(__name__)


class UnitOfWork:
    """Gather drafts beside what is written in a transaction; they are appended at its end.

    Args:
        transaction: The open transaction.

    Attributes:
        drafts: What will be appended, in order.
        receipts: One for each draft, once it is committed; none when the log is in another
            database, for then a relay takes them there.
    """

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._names = itertools.count(1)
        self._is_over = False
        self.drafts: list[Draft] = []
        self.receipts: Sequence[Receipt] = ()
        #: Statements that may have written something, so that leaving it needs a rollback.
        self.writes = 0
        self._after: list[Callable[[], Awaitable[object]]] = []
        #: What wings keep beside it, by its type.
        self.memo: dict[type, Any] = {}
        self._before: list[Callable[[Sequence[Receipt]], Awaitable[object]]] = []

    @property
    def dialect(self) -> Dialect:
        """Name the dialect of its statements."""
        return self._transaction.dialect

    async def execute(self, statement: str, *values: Any) -> int:
        """Run a statement and return how many rows it touched."""
        self.writes += 1
        return await self._transaction.execute(statement, *values)

    async def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement once for each row of values."""
        self.writes += 1
        await self._transaction.execute_many(statement, rows)

    async def write(self, statement: str, *values: Any) -> None:
        """Run a statement before the next one that answers, or the end."""
        self.writes += 1
        await self._transaction.write(statement, *values)

    @property
    def transaction(self) -> Transaction:
        """Return the transaction underneath."""
        return self._transaction

    async def fetch(self, statement: str, *values: Any) -> Sequence[Row]:
        """Run a statement and return its rows."""
        self.writes += 1  # until it is known to be a look that went well
        found = await self._transaction.fetch(statement, *values)
        if statement[:7].upper() == "SELECT ":
            self.writes -= 1
        return found

    def stage(self, drafts: Sequence[Draft]) -> None:
        """Have drafts appended at the end.

        Raises:
            UsageError: The transaction is over.
        """
        if self._is_over:
            raise UsageError("this transaction is over: begin another, or publish without it")
        self.drafts += drafts

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Make a part that is undone by itself, its drafts included, when it raises."""
        name, count = f"trunkline_{next(self._names)}", len(self.drafts)
        after, before = len(self._after), len(self._before)
        await self._transaction.set_savepoint(name)
        try:
            yield
        except BaseException:
            del self.drafts[count:], self._after[after:], self._before[before:]
            await self._transaction.undo_savepoint(name)
            raise
        await self._transaction.release_savepoint(name)

    def after_commit(self, callback: Callable[[], Awaitable[object]]) -> None:
        """Have something done once all this is committed, unless its savepoint is undone."""
        self._after.append(callback)

    def before_commit(self, callback: Callable[[Sequence[Receipt]], Awaitable[object]]) -> None:
        """Have something done between the append and the commit, unless its savepoint is undone.

        Args:
            callback: Called with the receipts of all drafts; what it raises undoes everything.
        """
        self._before.append(callback)

    async def finish(self, receipts: Sequence[Receipt]) -> None:
        """Do what was to be done right before the commit."""
        for callback in self._before:
            await callback(receipts)

    async def settle(self) -> None:
        """Do what was to be done after the commit; failures are told and stop nobody."""
        for callback in self._after:
            try:
                await callback()
            except Exception:
                logger.exception("after a commit, %r failed", callback)

    def close(self) -> None:
        """Take no more drafts: the end has begun."""
        self._is_over = True
