"""What a driver's errors mean to whoever keeps something in the database."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from trunkline.errors import LogCorruptError, LogError, LogUnavailableError

BUSY = frozenset({"SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL"})


def code_of(error: sqlite3.Error) -> str:
    """Return the error's primary name, such as ``SQLITE_BUSY``, or an empty text."""
    name: str = getattr(error, "sqlite_errorname", None) or ""
    return "_".join(name.split("_")[:2])


def is_busy(error: BaseException) -> bool:
    """Tell whether another connection holds what was asked for."""
    return isinstance(error, sqlite3.Error) and code_of(error) in BUSY


_MEANINGS: dict[str, tuple[type[LogError], str]] = {
    **dict.fromkeys(
        BUSY,
        (
            LogUnavailableError,
            "another program holds {path} locked: end its transaction, or try again",
        ),
    ),
    "SQLITE_FULL": (LogUnavailableError, "no space is left for {path}: make room, then try again"),
    "SQLITE_IOERR": (
        LogUnavailableError,
        "the system failed on {path}: look at the disk's space and health, then try again",
    ),
    **dict.fromkeys(
        ("SQLITE_CORRUPT", "SQLITE_NOTADB"),
        (
            LogCorruptError,
            "{path} is no sound SQLite database: move it away and restore a backup",
        ),
    ),
    "SQLITE_READONLY": (
        LogError,
        "{path} cannot be written: give this user write permission for the file and its directory",
    ),
    "SQLITE_CANTOPEN": (LogError, "{path} cannot be opened: check its path and permissions"),
}


def fault_of(error: sqlite3.Error, path: Path) -> LogError:
    """Translate a driver's error.

    Args:
        error: What sqlite3 raised.
        path: The database file.

    Returns:
        The error to raise from it: what happened, and what to do.
    """
    kind, text = _MEANINGS.get(code_of(error), (LogError, "SQLite failed on {path}"))
    name = getattr(error, "sqlite_errorname", None) or type(error).__name__
    return kind(f"{text.format(path=path)} ({name}: {error})")
