"""What PostgreSQL's and the driver's errors mean to whoever keeps something in the database."""

from __future__ import annotations

import re
from typing import Final

import asyncpg

from trunkline.errors import LogCorruptError, LogError, LogUnavailableError
from trunkline.sql.postgres.address import Address

#: What the driver raises, of the network's, the server's and its own errors. The last is what it
#: says when a connection breaks in the middle of a reply.
FAILURES: Final = (
    OSError,
    EOFError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

#: The server ended the session, perhaps after the commit: what was asked may have happened.
_ENDED = frozenset({"57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "25P04"})
#: The transaction lost against another one and may be tried again.
_LOST = frozenset({"40001", "40P01", "23505"})

_MEANINGS: dict[str, tuple[type[LogError], str]] = {
    "28P01": (LogError, "{place} refused the login: check user and password in the URL"),
    "28000": (
        LogError,
        "{place} refused the login: check the user, and let pg_hba.conf admit this host",
    ),
    "3D000": (LogError, "{place} names a database that does not exist: create it with createdb"),
    "42501": (
        LogError,
        (
            "the user of {place} lacks a privilege: GRANT CREATE ON DATABASE to it, or let its "
            "owner create the schema {schema!r} for it"
        ),
    ),
    "53300": (
        LogUnavailableError,
        "{place} has no connection left: raise max_connections, or use a pooler",
    ),
    "53100": (LogUnavailableError, "no space is left for {place}: make room, then try again"),
    "53200": (LogUnavailableError, "{place} is out of memory: try again, or give it more"),
    "55P03": (
        LogUnavailableError,
        "another session keeps the tail of {place} locked: end its transaction, or try again",
    ),
    "57014": (LogUnavailableError, "{place} cancelled the statement: try again"),
    "25006": (
        LogUnavailableError,
        (
            "{place} only reads: it is a standby, or default_transaction_read_only is on; name "
            "the primary, or several hosts with target_session_attrs=primary"
        ),
    ),
    "57P03": (LogUnavailableError, "{place} is starting up or shutting down: try again"),
    "3F000": (LogError, "the schema {schema!r} of {place} is gone: run the migrations"),
    "42P01": (LogError, "a table of {place} in {schema!r} is missing: run the migrations"),
    "42883": (LogError, "a function of {place} in {schema!r} is missing: run the migrations"),
    "XX001": (LogCorruptError, "{place} has damaged data: restore a backup"),
    "XX002": (LogCorruptError, "{place} has a damaged index: reindex, or restore a backup"),
    "42704": (LogError, "{place} does not know an option of the URL"),
}


def sqlstate(error: BaseException) -> str:
    """Return the server's code for an error, or an empty text."""
    code: str | None = getattr(error, "sqlstate", None)
    return code if code and isinstance(error, asyncpg.PostgresError) else ""


def is_cut(error: BaseException) -> bool:
    """Tell whether the connection is gone, so that what was asked may or may not have happened."""
    code = sqlstate(error)
    if code:
        return code in _ENDED or code.startswith("08")
    if isinstance(error, asyncpg.DataError):
        return False  # the driver could not encode an argument: nothing was sent
    return isinstance(error, FAILURES)


def is_lost_race(error: BaseException) -> bool:
    """Tell whether the same statement may succeed when it is tried again."""
    return sqlstate(error) in _LOST


def fault_of(error: BaseException, address: Address) -> LogError:
    """Translate an error of the driver or of the server.

    Args:
        error: What was raised.
        address: The database.

    Returns:
        The error to raise from it: what happened, and what to do.
    """
    code = sqlstate(error)
    found = f"{code}: {error}" if code else f"{type(error).__name__}: {error}"
    if code in _MEANINGS:
        kind, text = _MEANINGS[code]
    elif is_cut(error):
        kind, text = LogUnavailableError, "{place} cannot be reached: see that it runs and listens"
    elif isinstance(error, asyncpg.DataError):
        kind, text = LogError, "{place} cannot store what was given"
    else:
        kind, text = LogError, "{place} failed"
    text = text.format(place=address.place or "the database", schema=address.schema)
    return kind(f"{text} ({_quiet(found)})")


def _quiet(text: str) -> str:
    """Return one line without what could be somebody's data."""
    return re.sub(r"\s+", " ", text)[:300]
