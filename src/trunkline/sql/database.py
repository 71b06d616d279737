"""What a SQL database is to those who keep something in it, whichever dialect it speaks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Any, Protocol


class Dialect(StrEnum):
    """Name a dialect of SQL."""

    SQLITE = "sqlite"
    POSTGRES = "postgres"


#: Its values come by index and by column name.
Row = Any


class Transaction(Protocol):
    """Run statements in one open transaction.

    Placeholders are the dialect's own: ``?`` in SQLite, ``$1`` in PostgreSQL. Errors of a
    statement are the driver's own.
    """

    @property
    def dialect(self) -> Dialect:
        """Name the dialect of its statements."""

    @property
    def native(self) -> Any:
        """Return the driver's own connection, for libraries that work on one."""

    async def execute(self, statement: str, *values: Any) -> int:
        """Run a statement and return how many rows it touched."""

    async def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement once for each row of values."""

    async def fetch(self, statement: str, *values: Any) -> Sequence[Row]:
        """Run a statement and return its rows."""

    async def write(self, statement: str, *values: Any) -> None:
        """Run a statement before the next one that answers, or the end, in the order given.

        Where a statement is a round trip, several of them then share one.
        """

    async def flush(self) -> None:
        """Run what :meth:`write` left."""

    async def set_savepoint(self, name: str) -> None:
        """Begin a part that can be undone by itself."""

    async def renew_savepoint(self, name: str) -> None:
        """Keep what the part did and begin the next one under the same name."""

    async def release_savepoint(self, name: str) -> None:
        """Keep what the part did."""

    async def undo_savepoint(self, name: str) -> None:
        """Undo what the part did, and end it."""


class Database(Protocol):
    """Be an open SQL database."""

    @property
    def dialect(self) -> Dialect:
        """Name the dialect it speaks."""

    @property
    def place(self) -> str:
        """Name it in messages, without secrets."""

    @property
    def schema(self) -> str:
        """Qualify the names of our tables with this; empty for none."""

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Begin a transaction; leaving it commits, leaving it with an error rolls back."""

    async def fetch(self, statement: str, *values: Any) -> Sequence[Row]:
        """Run a short read of its own and return its rows."""

    async def may_have_changed(self) -> bool:
        """Tell whether somebody may have committed since the last call; cheap."""

    async def close(self) -> None:
        """Finish what was begun and release everything. Idempotent."""
