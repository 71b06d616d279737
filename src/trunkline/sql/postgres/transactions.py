"""A PostgreSQL database as the store sees it: transactions on lent connections, short reads."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import asyncpg
import msgspec

from trunkline.errors import LogUnavailableError, OutcomeUnknownError
from trunkline.sql.database import Dialect, Row
from trunkline.sql.postgres.address import Address
from trunkline.sql.postgres.database import Connection, Database, check_server
from trunkline.sql.postgres.faults import FAILURES, fault_of, is_cut
from trunkline.sql.postgres.pool import Pool

#: Seconds that a transaction of the application may idle before the server ends it: it holds
#: nothing that others wait for, except for rows of its own. The tail has a shorter limit.
IDLE_TIMEOUT: Final = 60.0
ROLL_BACK_WITHIN: Final = 2.0

_BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
#: A connection that broke, so that what was asked may have happened or not.
BROKEN: Final = tuple(one for one in FAILURES if one is not asyncpg.PostgresError)


class PostgresTransaction:
    """Run statements in a transaction on one connection.

    Args:
        connection: A connection inside a transaction.
        has_begun: Whether it is; otherwise the first statement begins it.

    Attributes:
        has_begun: Whether there is anything to commit or undo.
    """

    dialect = Dialect.POSTGRES

    def __init__(self, connection: Connection, *, has_begun: bool = True) -> None:
        self._connection = connection
        self.has_begun = has_begun
        self._left: list[tuple[str, list[Sequence[Any]]]] = []

    @property
    def native(self) -> Connection:
        """Return the driver's connection."""
        return self._connection

    async def execute(self, statement: str, *values: Any) -> int:
        """Run a statement and return how many rows it touched."""
        if self._left or not self.has_begun:
            await self.flush()
        status: str = await self._connection.execute(statement, *values)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement once for each row of values."""
        if self._left or not self.has_begun:
            await self.flush()
        await self._connection.executemany(statement, rows)

    async def fetch(self, statement: str, *values: Any) -> Sequence[Row]:
        """Run a statement and return its rows."""
        if self._left or not self.has_begun:
            await self.flush()
        found: Sequence[Row] = await self._connection.fetch(statement, *values)
        return found

    async def write(self, statement: str, *values: Any) -> None:
        """Leave a statement for the next flush; neighbours with one text share a round trip."""
        if self._left and self._left[-1][0] == statement:
            self._left[-1][1].append(values)
        else:
            self._left.append((statement, [values]))

    @property
    def has_left(self) -> bool:
        """Tell whether there is something to flush."""
        return bool(self._left)

    async def flush(self) -> None:
        """Run what was left, in the order given; from here on the transaction has begun."""
        if not self.has_begun:
            self.has_begun = True
            await _begin(self._connection)
        left, self._left = self._left, []
        for statement, rows in left:
            if len(rows) == 1:
                await self._connection.execute(statement, *rows[0])
            else:
                await self._connection.executemany(statement, rows)

    async def set_savepoint(self, name: str) -> None:
        """Begin a part that can be undone by itself."""
        await self.flush()
        await self._connection.execute(f"SAVEPOINT {name}")

    async def renew_savepoint(self, name: str) -> None:
        """Keep what the part did and begin the next one, in one round trip."""
        await self.flush()
        await self._connection.execute(f"RELEASE SAVEPOINT {name}; SAVEPOINT {name}")

    async def release_savepoint(self, name: str) -> None:
        """Keep what the part did."""
        await self.flush()
        await self._connection.execute(f"RELEASE SAVEPOINT {name}")

    async def undo_savepoint(self, name: str) -> None:
        """Undo what the part did, and end it."""
        self._left.clear()
        await self._connection.execute(f"ROLLBACK TO SAVEPOINT {name}")
        await self._connection.execute(f"RELEASE SAVEPOINT {name}")


class PostgresDatabase:
    """Be one PostgreSQL database, with the tables of one schema.

    Args:
        address: The database.
        pool: Lends connections to transactions.
        reading: Runs reads; the same pool if need be.
    """

    dialect = Dialect.POSTGRES

    def __init__(self, address: Address, pool: Pool, reading: Pool) -> None:
        self.address = address
        self.place = address.place
        self.schema = f"{address.quoted_schema}."
        self._pool = pool
        self._reading = reading
        self._is_own = False

    @classmethod
    async def open(cls, address: Address) -> Self:
        """Connect to a database of its own.

        Args:
            address: The database.

        Raises:
            LogError: It cannot be used; the message names the cause and the fix.
        """
        database = Database(transaction_address(address))
        connection = await database.connect()
        try:
            await check_server(connection, address)
        finally:
            await database.give_back(connection)
        pool = Pool(database, address.transactions)
        opened = cls(address, pool, pool)
        opened._is_own = True
        return opened

    @asynccontextmanager
    async def borrow(self, *, is_late: bool = False) -> AsyncIterator[Connection]:
        """Lend a connection inside a transaction, which whoever leaves commits before.

        Args:
            is_late: Whether whoever borrows begins it.

        Raises:
            LogError: The server stayed away for as long as patience lasts.
        """
        connection = await self._pool.lend(_leave if is_late else _begin)
        is_sound = False
        try:
            yield connection
            is_sound = True
        except Exception:
            is_sound = await _roll_back(connection)
            raise
        finally:
            await self._pool.take_back(connection, is_sound=is_sound)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresTransaction]:
        """Begin a transaction; leaving it commits, leaving it with an error rolls back."""
        async with self.borrow() as connection:
            tx = PostgresTransaction(connection)
            yield tx
            await tx.flush()
            try:
                await commit(connection, self.address)
            except BROKEN as error:
                raise OutcomeUnknownError(
                    f"{self.place} went away during a commit: whether it was stored is not known"
                ) from error

    async def fetch(self, statement: str, *values: Any) -> Sequence[Row]:
        """Run a short read of its own and return its rows."""

        async def work(connection: Connection) -> Sequence[Row]:
            found: Sequence[Row] = await connection.fetch(statement, *values)
            return found

        return await self._reading.run(work)

    async def may_have_changed(self) -> bool:
        """Tell that somebody may have committed: the server is the one to ask."""
        return True

    async def close(self) -> None:
        """Let the server go, if the connections are ours. Idempotent."""
        if self._is_own:
            await self._pool.close()


def transaction_address(address: Address) -> Address:
    """Return an address whose connections may idle in a transaction for as long as users need."""
    return msgspec.structs.replace(address, idle_timeout=max(IDLE_TIMEOUT, address.idle_timeout))


async def commit(connection: Connection, address: Address) -> None:
    """Commit.

    Raises:
        LogError: The server refused it; nothing was stored.
        OSError: The connection broke: it may be stored or not; also EOFError and the driver's
            InterfaceError.
    """
    try:
        async with asyncio.timeout(address.reply_timeout):
            status = await connection.execute("COMMIT")
    except asyncpg.PostgresError as error:
        if is_cut(error):
            raise ConnectionError(str(error)) from error
        raise fault_of(error, address) from error
    if status != "COMMIT":
        raise LogUnavailableError(
            "the transaction was undone, for one of its statements had failed: nothing was "
            "stored; put what may fail into a savepoint()"
        )


async def _begin(connection: Connection) -> None:
    await connection.execute(_BEGIN)


async def _leave(connection: Connection) -> None:
    """Leave a connection as it is."""


async def _roll_back(connection: Connection) -> bool:
    """Roll back, and tell whether the connection is good for others."""
    with contextlib.suppress(Exception):
        if connection.is_in_transaction():
            await connection.execute("ROLLBACK", timeout=ROLL_BACK_WITHIN)
        return not connection.is_closed()
    return False
