"""Drivers' own connections as guests: sqlite3, aiosqlite, asyncpg, psycopg."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from trunkline.sql.database import Dialect
from trunkline.store.guests.guest import TOKENS, Poke, Style


class _DriverGuest:
    """Be a driver's connection, of synchronous or asynchronous code.

    Args:
        connection: It.
    """

    dialect: ClassVar[Dialect]
    style: ClassVar[Style]

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def on_commit(self, poke: Poke) -> None:
        """Do nothing: none of these drivers tells anybody of a commit."""

    def _statements(
        self, insert: str, sealed: Sequence[bytes]
    ) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """Return the statements that insert rows, SQLite's under their transaction's token."""
        connection, token = self._connection, ""
        if self.dialect is Dialect.SQLITE:
            token = TOKENS.of(connection, is_new=not connection.in_transaction)
        return self.style.statements(insert, sealed, token)


class SQLiteGuest(_DriverGuest):
    """Be a connection of sqlite3."""

    is_sync = True
    dialect = Dialect.SQLITE
    style = Style(dialect, "qmark")

    def insert(self, insert: str, sealed: Sequence[bytes]) -> None:
        """Insert rows into the outbox."""
        for statement, values in self._statements(insert, sealed):
            self._connection.execute(statement, values).close()

    def run(self, statement: str, values: Sequence[Any]) -> int:
        """Run a statement of ours and return how many rows it touched."""
        return int(self._connection.execute(statement, tuple(values)).rowcount)


class AioSQLiteGuest(_DriverGuest):
    """Be a connection of aiosqlite."""

    is_sync = False
    dialect = Dialect.SQLITE
    style = Style(dialect, "qmark")

    async def insert(self, insert: str, sealed: Sequence[bytes]) -> None:
        """Insert rows into the outbox."""
        for statement, values in self._statements(insert, sealed):
            await (await self._connection.execute(statement, values)).close()

    async def run(self, statement: str, values: Sequence[Any]) -> int:
        """Run a statement of ours and return how many rows it touched."""
        cursor = await self._connection.execute(statement, tuple(values))
        await cursor.close()
        return int(cursor.rowcount)


class AsyncpgGuest(_DriverGuest):
    """Be a connection of asyncpg, or what its pool lends."""

    is_sync = False
    dialect = Dialect.POSTGRES
    style = Style(dialect, "numeric_dollar")

    async def insert(self, insert: str, sealed: Sequence[bytes]) -> None:
        """Insert rows into the outbox."""
        for statement, values in self._statements(insert, sealed):
            await self._connection.execute(statement, *values)

    async def run(self, statement: str, values: Sequence[Any]) -> int:
        """Run a statement of ours and return how many rows it touched."""
        status = await self._connection.execute(self.style.marked(statement), *values)
        return int(status.rpartition(" ")[2])


class PsycopgGuest(_DriverGuest):
    """Be a synchronous connection of psycopg 3."""

    is_sync = True
    dialect = Dialect.POSTGRES
    style = Style(dialect, "format")

    def insert(self, insert: str, sealed: Sequence[bytes]) -> None:
        """Insert rows into the outbox."""
        for statement, values in self._statements(insert, sealed):
            self._connection.execute(statement, values)

    def run(self, statement: str, values: Sequence[Any]) -> int:
        """Run a statement of ours and return how many rows it touched."""
        marked = self.style.marked(statement)
        return int(self._connection.execute(marked, tuple(values)).rowcount)


class AsyncPsycopgGuest(_DriverGuest):
    """Be an asynchronous connection of psycopg 3."""

    is_sync = False
    dialect = Dialect.POSTGRES
    style = Style(dialect, "format")

    async def insert(self, insert: str, sealed: Sequence[bytes]) -> None:
        """Insert rows into the outbox."""
        for statement, values in self._statements(insert, sealed):
            await self._connection.execute(statement, values)

    async def run(self, statement: str, values: Sequence[Any]) -> int:
        """Run a statement of ours and return how many rows it touched."""
        marked = self.style.marked(statement)
        return int((await self._connection.execute(marked, tuple(values))).rowcount)
