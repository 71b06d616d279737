"""Recognizing what an application hands over as ``tx=``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from trunkline.errors import UsageError
from trunkline.store.guests.drivers import (
    AioSQLiteGuest,
    AsyncpgGuest,
    AsyncPsycopgGuest,
    PsycopgGuest,
    SQLiteGuest,
)
from trunkline.store.guests.frameworks import AlchemyGuest, AsyncAlchemyGuest, DjangoGuest
from trunkline.store.guests.guest import AsyncGuest, SyncGuest

Make = Callable[[Any], SyncGuest | AsyncGuest]

#: By package and class; a package's inner modules move between its releases.
_KNOWN: Final[dict[tuple[str, str], Make]] = {
    ("sqlite3", "Connection"): SQLiteGuest,
    ("aiosqlite", "Connection"): AioSQLiteGuest,
    ("asyncpg", "Connection"): AsyncpgGuest,
    ("asyncpg", "PoolConnectionProxy"): AsyncpgGuest,
    ("psycopg", "Connection"): PsycopgGuest,
    ("psycopg", "AsyncConnection"): AsyncPsycopgGuest,
    ("sqlalchemy", "Session"): lambda session: AlchemyGuest(session=session),
    ("sqlalchemy", "scoped_session"): lambda scoped: AlchemyGuest(session=scoped()),
    ("sqlalchemy", "Connection"): lambda connection: AlchemyGuest(connection=connection),
    ("sqlalchemy", "AsyncSession"): lambda session: AsyncAlchemyGuest(session=session),
    ("sqlalchemy", "async_scoped_session"): lambda scoped: AsyncAlchemyGuest(session=scoped()),
    ("sqlalchemy", "AsyncConnection"): lambda connection: AsyncAlchemyGuest(connection=connection),
    ("django", "BaseDatabaseWrapper"): DjangoGuest,
    ("django", "ConnectionProxy"): DjangoGuest,
}


def guest_of(given: Any) -> SyncGuest | AsyncGuest:
    """Return the guest that a transaction, session or connection is.

    Args:
        given: As an application hands it over.

    Raises:
        UsageError: It is none that we know.
    """
    for kind in type(given).__mro__:
        make = _KNOWN.get((kind.__module__.partition(".")[0], kind.__name__))
        if make is not None:
            return make(given)
    kind = type(given)
    raise UsageError(
        f"tx= is a {kind.__module__}.{kind.__qualname__}: hand over a SQLAlchemy Session or "
        "Connection (async ones too), Django's connection, or a connection of psycopg, asyncpg, "
        "sqlite3 or aiosqlite"
    )
