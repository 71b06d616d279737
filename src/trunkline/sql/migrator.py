"""Numbered migrations: bringing a database's tables to what this release knows.

A dialect's steps are files ``NNNN_name.sql`` under ``migrations/<dialect>/``; each runs once, in
order, and what ran is noted in ``trunkline_schema``.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from importlib import resources
from typing import NamedTuple

from trunkline.errors import SchemaTooNewError

_FIND_NOTES = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'trunkline_schema'"
_MAKE_NOTES = "CREATE TABLE trunkline_schema (version INTEGER PRIMARY KEY, name TEXT NOT NULL)"
_READ_VERSION = "SELECT coalesce(max(version), 0) FROM trunkline_schema"
_NOTE = "INSERT INTO trunkline_schema (version, name) VALUES (?, ?)"


class Migration(NamedTuple):
    """Be one numbered step."""

    version: int
    name: str
    script: str


def migrations(dialect: str) -> list[Migration]:
    """Return a dialect's steps in order.

    Args:
        dialect: The directory under ``migrations``, such as ``sqlite``.
    """
    folder = resources.files("trunkline.sql").joinpath("migrations", dialect)
    found = []
    for file in folder.iterdir():
        stem, dot, suffix = file.name.rpartition(".")
        number, _, name = stem.partition("_")
        if dot and suffix == "sql" and number.isdigit():
            found.append(Migration(int(number), name, file.read_text(encoding="utf-8")))
    return sorted(found)


def script(steps: list[Migration]) -> Iterator[str]:
    """Yield all statements of SQLite steps and their notes, for those who run them by hand."""
    yield f"{_MAKE_NOTES};"
    for step in steps:
        yield from statements(step.script)
        note = _NOTE.replace("?, ?", f"{step.version}, '{step.name}'")
        yield f"{note};"


def version_of(connection: sqlite3.Connection) -> int:
    """Return the number of the newest step that ran, 0 for a database without our tables."""
    if connection.execute(_FIND_NOTES).fetchone() is None:
        return 0
    return int(connection.execute(_READ_VERSION).fetchone()[0])


def migrate(connection: sqlite3.Connection, steps: list[Migration], *, place: str) -> int:
    """Run the steps that are missing, all in one transaction.

    Args:
        connection: A connection outside a transaction.
        steps: What this release knows, in order.
        place: Names the database in an error.

    Returns:
        How many steps ran.

    Raises:
        SchemaTooNewError: The database has a step that this release does not know.
    """
    newest = steps[-1].version if steps else 0
    if version_of(connection) == newest:
        return 0
    connection.execute("BEGIN IMMEDIATE")
    try:
        count = _run_missing(connection, steps, newest, place)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return count


def _run_missing(
    connection: sqlite3.Connection, steps: list[Migration], newest: int, place: str
) -> int:
    version = version_of(connection)
    if version > newest:
        raise SchemaTooNewError(
            f"{place} has schema {version} and this release knows up to {newest}: "
            "install a newer trunkline"
        )
    if version == 0:
        connection.execute(_MAKE_NOTES)
    missing = [step for step in steps if step.version > version]
    for step in missing:
        for statement in statements(step.script):
            connection.execute(statement)
        connection.execute(_NOTE, (step.version, step.name))
    return len(missing)


def statements(script: str) -> Iterator[str]:
    """Split a script at the semicolons that end its statements.

    ``executescript`` would commit first, and so tear a migration in two.
    """
    text = ""
    for part in re.split("(?<=;)", script):
        text += part
        if sqlite3.complete_statement(text):
            yield text.strip()
            text = ""
    if text.strip():
        yield text.strip()
