"""Where a PostgreSQL database is and how to talk to it: the URL, its options, the driver's options.

What the query of the URL names is ours, or a keyword of the driver, or left in the URL, where the
driver looks for ``sslmode`` and its like and takes the rest for settings of the server.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg
import msgspec

from trunkline.errors import ConfigError

SCHEMES: Final = ("postgresql", "postgres")
_SCHEMA = re.compile(r"(?!pg_)[A-Za-z_][A-Za-z0-9_-]{0,47}")


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Say where a database is and how to handle it.

    Args:
        dsn: The URL without our own options; empty with a pool.
        place: The same without a password, for messages.
        schema: The schema that holds our tables.
        pooler: ``transaction`` behind a pooler that gives a server connection per transaction
            (PgBouncer): no LISTEN, no session state, no prepared statements. Else ``session``.
        readers: Reads that may run at once, 1 to 64.
        transactions: Transactions that may be open at once in a process, 1 to 64.
        lock_key: Second half of the advisory lock that orders appends; None derives it from the
            names of database and schema. All processes on one line must agree.
        lock_timeout: Seconds an append waits for others who hold the tail.
        idle_timeout: Seconds after which the server ends a session of ours that does nothing
            inside a transaction, and so frees what it holds; below *lock_timeout*, others then
            only wait for it.
        patience: Seconds that appends and reads wait for a server that is away.
        reply_timeout: Seconds without an answer after which a connection is given up.
        driver: Keyword arguments of ``asyncpg.connect``.
        pool: A pool that the application already has, used instead of connections of our own.
    """

    dsn: str
    place: str
    schema: str = "trunkline"
    pooler: Literal["session", "transaction"] = "session"
    readers: int = 4
    transactions: int = 8
    lock_key: int | None = None
    lock_timeout: float = 10.0
    idle_timeout: float = 5.0
    patience: float = 15.0
    reply_timeout: float = 30.0
    driver: dict[str, Any] = {}
    pool: Any = None

    @property
    def is_pooled(self) -> bool:
        """Tell whether the next transaction may meet another server connection."""
        return self.pooler == "transaction"

    @property
    def quoted_schema(self) -> str:
        """Return the schema's name as SQL wants it."""
        return f'"{self.schema}"'

    def sql(self, text: str) -> str:
        """Return a statement with the schema's name in it."""
        return text.replace("{schema}", self.quoted_schema)


_OWN = tuple(
    name for name in Address.__struct_fields__ if name not in {"dsn", "place", "driver", "pool"}
)
_KEYWORDS = frozenset(
    name for name in inspect.signature(asyncpg.connect).parameters if name not in {"dsn", "loop"}
)
#: Keywords of the driver that a query can carry, by how to read them; the driver itself looks in
#: the query for what else it knows (sslmode, target_session_attrs …).
_FROM_QUERY: dict[str, type] = {
    "timeout": float,
    "command_timeout": float,
    "statement_cache_size": int,
    "max_cached_statement_lifetime": int,
    "max_cacheable_statement_size": int,
    "direct_tls": bool,
}


def parse_address(url: str, options: Mapping[str, Any]) -> Address:
    """Parse ``postgresql://user:password@host:port/database?schema=…``.

    Args:
        url: The URL.
        options: More options, which win over the query's: ours, keyword arguments of
            ``asyncpg.connect``, or ``pool``.

    Returns:
        Where the database is.

    Raises:
        ConfigError: The URL is no PostgreSQL database's, or an option is unknown or out of range.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ConfigError(
            f"{_without_password(url)!r} is no PostgreSQL line: "
            "write postgresql://user@host:5432/database"
        )
    own: dict[str, Any] = {}
    driver: dict[str, Any] = {}
    left: list[tuple[str, str]] = []
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name in _OWN:
            own[name] = value
        elif name in _FROM_QUERY:
            driver[name] = _read(name, value)
        else:
            left.append((name, value))
    for name, value in options.items():
        _sort_option(name, value, own, driver)
    dsn = urlunsplit(parts._replace(query=urlencode(left)))
    given = {**own, "dsn": dsn, "place": _without_password(dsn), "driver": driver}
    try:
        found = msgspec.convert(given, Address, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"an option of the PostgreSQL line is wrong: {error}") from error
    return _checked(found)


def _sort_option(name: str, value: Any, own: dict[str, Any], driver: dict[str, Any]) -> None:
    if name in _OWN or name == "pool":
        own[name] = value
    elif name in _KEYWORDS:
        driver[name] = value
    else:
        raise ConfigError(
            f"a PostgreSQL line has no option {name!r}: there are {', '.join(_OWN)}, pool, and "
            "the keyword arguments of asyncpg.connect"
        )


def _read(name: str, value: str) -> Any:
    try:
        return msgspec.convert(value, _FROM_QUERY[name], strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}={value!r} in the PostgreSQL URL is wrong: {error}") from error


def _checked(found: Address) -> Address:
    if _SCHEMA.fullmatch(found.schema) is None:
        raise ConfigError(
            f"schema={found.schema!r} is no name for our schema: use up to 48 letters, digits, "
            "'_' and '-', no digit first, and not pg_…"
        )
    for name in ("lock_timeout", "idle_timeout", "patience", "reply_timeout"):
        if not 0.001 <= getattr(found, name) <= 86400:
            raise ConfigError(f"{name}={getattr(found, name)} must be from 0.001 to 86400 seconds")
    for name in ("readers", "transactions"):
        if not 1 <= getattr(found, name) <= 64:
            raise ConfigError(f"{name}={getattr(found, name)} must be from 1 to 64")
    if found.lock_key is not None and not -(2**31) <= found.lock_key < 2**31:
        raise ConfigError(f"lock_key={found.lock_key} must be an integer of 32 bits")
    if found.pool is not None and not isinstance(found.pool, asyncpg.Pool):
        raise ConfigError(f"pool must be an asyncpg.Pool, not {type(found.pool).__name__}")
    return found


def _without_password(url: str) -> str:
    """Return a URL as messages may show it."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    netloc = user.partition(":")[0] + at + host
    return urlunsplit(parts._replace(netloc=netloc, query="", fragment=""))
