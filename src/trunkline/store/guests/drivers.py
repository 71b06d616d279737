"""Drivers' own connections as guests: sqlite3, aiosqlite, asyncpg, psycopg."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trunkline.sql.database import Dialect
from trunkline.store.guests.guest import TOKENS, Poke, Style


class SQLiteGuest:
    """Be a connection of sqlite3.

    Args:
        connection: It.
    """

    is_sync = True
    dialect = Dialect.SQLITE

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def on_commit(self, poke: Poke) -> None:
        """Do nothing: sqlite3 tells nobody of a commit."""

    def insert(self, insert: str, sealed: Sequence[bytes]) -> None:
        """Insert rows into the outbox."""
        connection = self._connection
        token = TOKENS.of(connection, is_new=not connection.in_transaction)
        for statement, values in Style(self.dialect, "qmark").statements(insert, sealed, token):
            connection.execute(statement, values).close()

    def run(self, statement: str, values: Sequence[Any]) -> int:
        """Run a statement of ours and return how many rows it touched."""
        return int(self._connection.execute(statement, tuple(values)).rowcount)


class AioSQLiteGuest:
    """Be a connection of aiosqlite.

    Args:
        connection: It.
    """

    is_sync = False
    dialect = Dialect.SQLITE

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def on_commit(self, poke: Poke) -> None:
        """Do nothing: aiosqlite tells nobody of a commit."""

    async def insert(self, insert: str, sealed: Sequence[bytes]) -> None:
        """Insert rows into the outbox."""
        connection = self._connection
        token = TOKENS.of(connection, is_new=not connection.in_transaction)
        for statement, values in Style(self.dialect, "qmark").statements(insert, sealed, token):
            await (await connection.execute(statement, values)).close()

    async def run(self, statement: str, values: Sequence[Any]) -> int:
        """Run a statement of ours and return how many rows it touched."""
        cursor = await self._connection.execute(statement, tuple(values))
        await cursor.close()
        return int(cursor.rowcount)


class AsyncpgGuest:
    """Be a connection of asyncpg, or what its pool lends.

    Args:
        connection: It.
    """

    is_sync = False
    dialect = Dialect.POSTGRES

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def on_commit(self, poke: Poke) -> None:
        """Do nothing: asyncpg tells nobody of a commit."""

    async def insert(self, insert: str, sealed: Sequence[bytes]) -> None:
        """Insert rows into the outbox."""
        style = Style(self.dialect, "numeric_dollar")
        for statement, values in style.statements(insert, sealed, ""):
            await self._connection.execute(statement, *values)

    async def run(self, statement: str, values: Sequence[Any]) -> int:
        """Run a statement of ours and return how many rows it touched."""
        marked = Style(self.dialect, "numeric_dollar").marked(statement)
        status = await self._connection.execute(marked, *values)
        return int(status.rpartition(" ")[2])


class PsycopgGuest:
    """Be a synchronous connection of psycopg 3.

    Args:
        connection: It.
    """

    is_sync = True
    dialect = Dialect.POSTGRES

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def on_commit(self, poke: Poke) -> None:
        """Do nothing: psycopg tells nobody of a commit."""

    def insert(self, insert: str, sealed: Sequence[bytes]) -> None:
        """Insert rows into the outbox."""
        for statement, values in Style(self.dialect, "format").statements(insert, sealed, ""):
            self._connection.execute(statement, values)

    def run(self, statement: str, values: Sequence[Any]) -> int:
        """Run a statement of ours and return how many rows it touched."""
        marked = Style(self.dialect, "format").marked(statement)
        return int(self._connection.execute(marked, tuple(values)).rowcount)


class AsyncPsycopgGuest:
    """Be an asynchronous connection of psycopg 3.

    Args:
        connection: It.
    """

    is_sync = False
    dialect = Dialect.POSTGRES

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def on_commit(self, poke: Poke) -> None:
        """Do nothing: psycopg tells nobody of a commit."""

    async def insert(self, insert: str, sealed: Sequence[bytes]) -> None:
        """Insert rows into the outbox."""
        for statement, values in Style(self.dialect, "format").statements(insert, sealed, ""):
            await self._connection.execute(statement, values)

    async def run(self, statement: str, values: Sequence[Any]) -> int:
        """Run a statement of ours and return how many rows it touched."""
        marked = Style(self.dialect, "format").marked(statement)
        return int((await self._connection.execute(marked, tuple(values))).rowcount)
