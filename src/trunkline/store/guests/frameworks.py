"""SQLAlchemy's sessions and connections, and Django's connection, as guests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from trunkline.errors import UsageError
from trunkline.sql.database import Dialect
from trunkline.store.guests.guest import TOKENS, Poke, Style

_DIALECTS = {"sqlite": Dialect.SQLITE, "postgresql": Dialect.POSTGRES}

#: Has SQLAlchemy begin a transaction, as any statement does.
BEGIN = "SELECT 1"

Statements = Iterator[tuple[str, tuple[Any, ...]]]


def dialect_of(vendor: str) -> Dialect:
    """Return the dialect of a database as SQLAlchemy and Django name it.

    Raises:
        UsageError: The outbox knows no such database.
    """
    dialect = _DIALECTS.get(vendor)
    if dialect is None:
        raise UsageError(
            f"a transaction on {vendor} carries no messages: the outbox needs SQLite or PostgreSQL"
        )
    return dialect


class _AlchemyGuest:
    """Be a session or connection of SQLAlchemy, of synchronous or asynchronous code.

    Args:
        session: The session, or None.
        connection: The connection, or None.
    """

    def __init__(self, session: Any = None, connection: Any = None) -> None:
        self._session = session
        self._connection = connection

    @property
    def dialect(self) -> Dialect:
        """Name the dialect of its database."""
        bind = self._connection if self._session is None else self._session.get_bind()
        return dialect_of(bind.dialect.name)


class AlchemyGuest(_AlchemyGuest):
    """Be a Session or Connection of SQLAlchemy."""

    is_sync = True

    def on_commit(self, poke: Poke) -> None:
        """Have *poke* called after the session's commits."""
        poke_after_commit(self._session, poke)

    def insert(self, insert: str, sealed: Sequence[bytes]) -> None:
        """Insert rows into the outbox."""
        connection = self._connection
        if self._session is not None:
            connection = self._session.connection()
        elif connection.get_transaction() is None:
            connection.exec_driver_sql(BEGIN)
        for statement, values in alchemy_statements(connection, insert, sealed):
            connection.exec_driver_sql(statement, values)

    def run(self, statement: str, values: Sequence[Any]) -> int:
        """Run a statement of ours and return how many rows it touched."""
        connection = self._connection if self._session is None else self._session.connection()
        marked = Style(self.dialect, connection.dialect.paramstyle).marked(statement)
        return int(connection.exec_driver_sql(marked, tuple(values)).rowcount)


class AsyncAlchemyGuest(_AlchemyGuest):
    """Be an AsyncSession or AsyncConnection of SQLAlchemy."""

    is_sync = False

    def on_commit(self, poke: Poke) -> None:
        """Have *poke* called after the session's commits."""
        poke_after_commit(None if self._session is None else self._session.sync_session, poke)

    async def insert(self, insert: str, sealed: Sequence[bytes]) -> None:
        """Insert rows into the outbox."""
        connection = self._connection
        if self._session is not None:
            connection = await self._session.connection()
        elif connection.get_transaction() is None:
            await connection.exec_driver_sql(BEGIN)
        for statement, values in alchemy_statements(connection.sync_connection, insert, sealed):
            await connection.exec_driver_sql(statement, values)

    async def run(self, statement: str, values: Sequence[Any]) -> int:
        """Run a statement of ours and return how many rows it touched."""
        connection = self._connection
        if self._session is not None:
            connection = await self._session.connection()
        marked = Style(self.dialect, connection.dialect.paramstyle).marked(statement)
        return int((await connection.exec_driver_sql(marked, tuple(values))).rowcount)


def alchemy_statements(connection: Any, insert: str, sealed: Sequence[bytes]) -> Statements:
    """Yield the statements for a Connection, in its driver's style."""
    dialect, token = connection.dialect, ""
    if dialect.name == "sqlite":
        # The transaction's own object: it begins with the first statement, and ends with it.
        token = TOKENS.of(connection.get_transaction(), is_new=False)
    return Style(dialect_of(dialect.name), dialect.paramstyle).statements(insert, sealed, token)


def poke_after_commit(session: Any, poke: Poke) -> None:
    """Have *poke* called after the commits of a Session, from now on."""
    if session is None:
        return
    known = session.info.setdefault("trunkline_pokes", [])
    if poke not in known:
        from sqlalchemy import event

        known.append(poke)
        event.listen(session, "after_commit", lambda _: poke())


class DjangoGuest:
    """Be one of Django's connections.

    Args:
        connection: It, or Django's proxy of it.
    """

    is_sync = True

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def dialect(self) -> Dialect:
        """Name the dialect of its database."""
        return dialect_of(self._connection.vendor)

    def on_commit(self, poke: Poke) -> None:
        """Have *poke* called after the commit."""
        self._connection.on_commit(poke)

    def insert(self, insert: str, sealed: Sequence[bytes]) -> None:
        """Insert rows into the outbox."""
        connection = self._connection
        connection.ensure_connection()
        raw, token = connection.connection, ""
        if self.dialect is Dialect.SQLITE:
            token = TOKENS.of(raw, is_new=not raw.in_transaction)
            connection.on_commit(lambda: TOKENS.forget(raw))
        statements = Style(self.dialect, "format").statements(insert, sealed, token)
        with connection.cursor() as cursor:
            for statement, values in statements:
                cursor.execute(statement, values)

    def run(self, statement: str, values: Sequence[Any]) -> int:
        """Run a statement of ours and return how many rows it touched."""
        with self._connection.cursor() as cursor:
            cursor.execute(Style(self.dialect, "format").marked(statement), tuple(values))
            return int(cursor.rowcount)
