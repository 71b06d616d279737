"""Opening a SQL database by its URL, whichever dialect it speaks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from trunkline.errors import ConfigError, MissingExtraError
from trunkline.sql.database import Database, Dialect
from trunkline.sql.sqlite import SQLiteDatabase, file_holds


class DatabasePlace(NamedTuple):
    """Say where a database is, before it is opened.

    Args:
        dialect: Which SQL it speaks.
        schema: Qualifies the names of our tables, dot included; empty for none.
        open: Opens it; None when somebody else does.
        file: The file, where it is one.
    """

    dialect: Dialect
    schema: str
    open: Callable[[], Awaitable[Database]] | None
    file: Path | None = None


async def holds_table(place: DatabasePlace, table: str) -> bool:
    """Tell whether a database is there and, for a file, holds a table, without touching it.

    Args:
        place: The database.
        table: The table's name.
    """
    if place.file is None:
        return place.open is not None
    return place.file.exists() and await asyncio.to_thread(file_holds, place.file, table)


def place_of(given: Any, options: Mapping[str, Any] | None = None) -> DatabasePlace:
    """Find a database.

    Args:
        given: A URL such as ``sqlite:///app.db`` or ``postgresql://host/name``, or a SQLAlchemy
            engine, synchronous or not.
        options: Options of the dialect and its driver, on top of those in the URL.

    Returns:
        Where it is.

    Raises:
        ConfigError: It is neither, or a database we don't know.
        MissingExtraError: The database's driver is not installed.
    """
    url = given if isinstance(given, str) else _url_of(given)
    scheme = urlsplit(url).scheme.partition("+")[0]
    if scheme == "sqlite":
        return _sqlite(url)
    if scheme in {"postgresql", "postgres"}:
        return _postgres(url, options or {})
    raise ConfigError(
        f"{scheme or url!r} is no database for a store or an outbox: name one by "
        "sqlite:///file.db or postgresql://…"
    )


def _sqlite(url: str) -> DatabasePlace:
    path = unquote(urlsplit(url).path)[1:]
    if not path or path == ":memory:":
        raise ConfigError(f"{url!r} names no file: write sqlite:///app.db")

    async def open_file() -> Database:
        return await SQLiteDatabase.open(Path(path))

    return DatabasePlace(Dialect.SQLITE, "", open_file, Path(path))


def _postgres(url: str, options: Mapping[str, Any]) -> DatabasePlace:
    try:
        from trunkline.sql.postgres.address import parse_address
        from trunkline.sql.postgres.transactions import PostgresDatabase
    except ModuleNotFoundError as error:
        raise MissingExtraError("a store in PostgreSQL", "postgres") from error
    scheme, _, rest = url.partition("://")
    address = parse_address(f"{scheme.partition('+')[0]}://{rest}", options)
    return DatabasePlace(
        Dialect.POSTGRES,
        f"{address.quoted_schema}.",
        lambda: PostgresDatabase.open(address),
    )


def _url_of(engine: Any) -> str:
    url = getattr(engine, "url", None)
    if url is None or not hasattr(url, "render_as_string"):
        raise ConfigError(
            f"{type(engine).__qualname__} is no database: give its URL, or a SQLAlchemy engine"
        )
    bare = url.set(drivername=url.get_backend_name())
    return str(bare.render_as_string(hide_password=False))
