"""The outbox: what guests' transactions left for the log, transaction by transaction."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from trunkline.sql.database import Database, Dialect, Row, Transaction
from trunkline.store.statements import statements_for

#: Rows (SQLite) or transactions (PostgreSQL) that one batch takes.
BATCH = 500
#: Rows of one SQLite transaction, more of which may go in several batches.
WHOLE = 20_000


class Entry(NamedTuple):
    """Be one message in the outbox."""

    seq: int
    sealed: bytes


class Parked(msgspec.Struct, frozen=True):
    """Be a message that no log would take.

    Args:
        seq: Its number in the outbox.
        sealed: The message as it was left.
        error: Why not.
        parked_at: When, Unix seconds.
    """

    seq: int
    sealed: bytes
    error: str
    parked_at: float


class Outbox:
    """Be the outbox in one database.

    Args:
        database: Where it is, its tables in place.
        ident: The name of its store.
    """

    def __init__(self, database: Database, ident: str) -> None:
        self.database = database
        self.ident = ident
        self._sql = statements_for(database.dialect, database.schema)
        self._may_have_rows = True

    async def has_rows(self) -> bool:
        """Tell whether committed messages wait; cheap while nobody commits anything."""
        changed = await self.database.may_have_changed()
        if not (changed or self._may_have_rows):
            return False
        self._may_have_rows = True  # until the next line says otherwise, also if it fails
        self._may_have_rows = bool(await self.database.fetch(self._sql.peek))
        return self._may_have_rows

    async def read(self, tx: Transaction) -> list[list[Entry]]:
        """Return the messages of the oldest transactions, each transaction's as one list."""
        if tx.dialect is Dialect.POSTGRES:
            return _grouped(await tx.fetch(self._sql.read, BATCH))
        limit = BATCH
        while True:
            rows = await tx.fetch(self._sql.read, limit + 1)
            if len(rows) <= limit:
                return _grouped(rows)
            # The last transaction may go on behind the limit: leave it, or read more of it.
            end = len(rows)
            while end and rows[end - 1][1] == rows[-1][1]:
                end -= 1
            if end or limit >= WHOLE:
                return _grouped(rows[: end or None])
            limit = min(limit * 4, WHOLE)

    async def read_these(self, tx: Transaction, seqs: Sequence[int]) -> list[list[Entry]]:
        """Return some messages, those of a transaction as one list."""
        return _grouped(await tx.fetch(self._sql.read_these, self._listed(seqs)))

    async def remove(self, tx: Transaction, seqs: Sequence[int]) -> None:
        """Remove messages, because they are in the log or parked."""
        if seqs:
            await tx.execute(self._sql.remove, self._listed(seqs))

    async def park(self, tx: Transaction, found: Iterable[Parked]) -> None:
        """Keep messages aside, so that they block nobody."""
        rows = [(one.seq, one.sealed, one.error, one.parked_at) for one in found]
        if rows:
            await tx.execute_many(self._sql.park, rows)

    async def parked(self, limit: int = 1000) -> list[Parked]:
        """Return messages that were parked, oldest first."""
        rows = await self.database.fetch(self._sql.parked, limit)
        return [Parked(row[0], bytes(row[1]), row[2], row[3]) for row in rows]

    async def retry(self, seqs: Sequence[int]) -> int:
        """Put parked messages back, behind all that wait; return how many."""
        async with self.database.transaction() as tx:
            await tx.execute(self._sql.put_back, self._listed(seqs))
            return await tx.execute(self._sql.drop_parked, self._listed(seqs))

    async def drop(self, seqs: Sequence[int]) -> int:
        """Forget parked messages; return how many."""
        async with self.database.transaction() as tx:
            return await tx.execute(self._sql.drop_parked, self._listed(seqs))

    def _listed(self, seqs: Sequence[int]) -> Any:
        if self.database.dialect is Dialect.POSTGRES:
            return list(seqs)
        return msgspec.json.encode(list(seqs)).decode()


def _grouped(rows: Sequence[Row]) -> list[list[Entry]]:
    """Put neighbours with the same token together."""
    return [
        [Entry(row[0], bytes(row[2])) for row in group]
        for _, group in itertools.groupby(rows, key=lambda row: row[1])
    ]
