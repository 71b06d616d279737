"""Opening SQLite connections, all with the settings that the guarantees rest on."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from trunkline.errors import LogError
from trunkline.sql.faults import fault_of

#: Upserts, RETURNING and partial indexes as used here.
OLDEST_SQLITE = (3, 35, 0)


def check_library() -> None:
    """Check that the SQLite library in use can carry a line.

    Raises:
        LogError: It is too old, or was built without thread safety.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        wanted = ".".join(map(str, OLDEST_SQLITE))
        raise LogError(
            f"SQLite {sqlite3.sqlite_version} is too old: use a Python linked to {wanted} or newer"
        )
    if sqlite3.threadsafety != 3:
        raise LogError(
            "this SQLite was built without serialized threading: use a Python whose "
            "sqlite3.threadsafety is 3"
        )


def check_place(path: Path) -> None:
    """Check that a database file can be opened or made at *path*.

    Raises:
        LogError: The directory is missing, or the path is a directory.
    """
    if not path.parent.is_dir():
        raise LogError(f"the directory {path.parent} does not exist: create it first")
    if path.is_dir():
        raise LogError(f"{path} is a directory: name a file in it")


class Connection(sqlite3.Connection):
    """Be a connection that can be referred to weakly, as caches of what is made for it do."""


def connect(path: Path, *, busy_timeout: float, is_reader: bool = False) -> sqlite3.Connection:
    """Open a connection in WAL mode with ``synchronous=FULL`` and manual transactions.

    It may be used from any thread, by one at a time.

    Args:
        path: The database file; a writer's connection creates it.
        busy_timeout: Seconds to wait for another connection's lock.
        is_reader: Whether writing through it is refused.

    Returns:
        The connection.

    Raises:
        LogError: It cannot be opened, or WAL is not available there.
    """
    connection = None
    try:
        connection = sqlite3.connect(
            path,
            timeout=busy_timeout,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
            factory=Connection,
        )
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA temp_store=MEMORY")
        if is_reader:
            connection.execute("PRAGMA query_only=ON")
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        raise fault_of(error, path) from error
    if mode != "wal":
        connection.close()
        raise LogError(
            f"{path} cannot use write-ahead logging (its mode is {mode}): put it on a local disk"
        )
    return connection


def set_busy_timeout(connection: sqlite3.Connection, seconds: float) -> None:
    """Change how long a connection waits for another one's lock; 0 means not at all."""
    connection.execute(f"PRAGMA busy_timeout={int(seconds * 1000)}")
