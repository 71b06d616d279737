"""SQLAlchemy inside a command's transaction: Core or a session, on the very same connection.

The session neither commits nor rolls back what is not its own: that is the command's to do. On
SQLite its statements run where all others of the writer run, on the loop; the dialect for
aiosqlite is handed a stand-in for its connection, made of the few methods it calls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self
from weakref import WeakKeyDictionary

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import StaticPool

from trunkline.channels.transaction import LineTransaction
from trunkline.errors import UsageError
from trunkline.sql.database import Dialect

_engines: WeakKeyDictionary[Any, AsyncEngine] = WeakKeyDictionary()


@asynccontextmanager
async def session_on(tx: LineTransaction, **options: Any) -> AsyncIterator[AsyncSession]:
    """Open a session inside a transaction, for ``async with``; leaving flushes it.

    Its ``commit()`` flushes and commits nothing; parts that may fail belong into
    ``session.begin_nested()``. One session at a time.

    Args:
        tx: The transaction that a handler is given, or one of ``line.transaction()``.
        **options: For ``AsyncSession``, such as ``expire_on_commit``.

    Raises:
        UsageError: ``session.rollback()`` was called, which can't undo a part of the command.
    """
    async with connection_on(tx) as connection:
        session = AsyncSession(bind=connection, **options)
        undone: list[bool] = []

        def note(_: Any, ended: Any) -> None:
            if ended.parent is None:  # not a savepoint, which is really undone
                undone.append(True)

        event.listen(session.sync_session, "after_soft_rollback", note)
        try:
            yield session
            if not undone:
                await session.flush()
            _check(undone)
        finally:
            await session.close()


@asynccontextmanager
async def connection_on(tx: LineTransaction) -> AsyncIterator[AsyncConnection]:
    """Open SQLAlchemy's connection inside a transaction, for ``async with``.

    Args:
        tx: The transaction that a handler is given, or one of ``line.transaction()``.
    """
    unit = tx.unit
    unit.writes += 1  # nobody sees what is written here
    await unit.transaction.flush()
    native = unit.transaction.native
    engine = _engines.get(native)
    if engine is None:
        engine = _engines[native] = _engine(native, tx.dialect)
    async with engine.connect() as connection:
        yield connection


def _check(undone: Sequence[bool]) -> None:
    if undone:
        raise UsageError(
            "session.rollback() can't undo a part of a command: raise to undo all of it, or put "
            "what may fail into session.begin_nested()"
        )


def _engine(native: Any, dialect: Dialect) -> AsyncEngine:
    async def lent(*_: Any, **__: Any) -> Any:
        return _StandIn(native) if dialect is Dialect.SQLITE else native

    url = "sqlite+aiosqlite://" if dialect is Dialect.SQLITE else "postgresql+asyncpg://"
    # AUTOCOMMIT: it then sends no BEGIN, COMMIT or ROLLBACK of its own.
    options: dict[str, Any] = {"poolclass": StaticPool, "pool_reset_on_return": None}
    if dialect is Dialect.POSTGRES:
        options["isolation_level"] = "AUTOCOMMIT"
    return create_async_engine(url, async_creator=lent, **options)


class _StandIn:
    """Be what the dialect takes for aiosqlite's connection.

    Args:
        native: The writing connection.
    """

    isolation_level: str | None = None

    def __init__(self, native: Any) -> None:
        self._native = native
        self._conn = native
        self._connection = native
        self._tx = _Now()

    def cursor(self) -> _Cursor:
        return _Cursor(self._native.cursor())

    async def create_function(self, *arguments: Any, **options: Any) -> None:
        self._native.create_function(*arguments, **options)

    async def commit(self) -> None:
        """Do nothing: the command commits."""

    async def rollback(self) -> None:
        """Do nothing: whoever wants it undone raises."""

    async def close(self) -> None:
        """Do nothing: it is the line's."""

    def stop(self) -> None:
        """Do nothing: it is the line's."""


class _Now:
    """Be a queue of work for aiosqlite's thread that does it at once."""

    def put_nowait(self, item: tuple[Any, Callable[[], Any]]) -> None:
        future, _ = item
        future.set_result(None)  # an isolation level, which stays ours


class _Cursor:
    """Be aiosqlite's cursor, run in place.

    Args:
        native: The cursor.
    """

    def __init__(self, native: Any) -> None:
        self._native = native

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, statement: str, values: Any = ()) -> _Cursor:
        self._native.execute(statement, values if values is not None else ())
        return self

    async def executemany(self, statement: str, rows: Any) -> _Cursor:
        self._native.executemany(statement, rows)
        return self

    async def fetchall(self) -> list[Any]:
        return list(self._native.fetchall())

    async def fetchone(self) -> Any:
        return self._native.fetchone()

    async def fetchmany(self, size: int | None = None) -> list[Any]:
        return list(self._native.fetchmany(size or self._native.arraysize))

    async def close(self) -> None:
        self._native.close()

    @property
    def description(self) -> Any:
        return self._native.description

    @property
    def rowcount(self) -> int:
        return int(self._native.rowcount)

    @property
    def lastrowid(self) -> Any:
        return self._native.lastrowid

    @property
    def arraysize(self) -> int:
        return int(self._native.arraysize)

    @arraysize.setter
    def arraysize(self, size: int) -> None:
        self._native.arraysize = size
