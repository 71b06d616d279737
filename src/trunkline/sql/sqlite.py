"""A SQLite file as a database: transactions in the writer's turns, short reads on the loop."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Self

from trunkline.errors import LogUnavailableError, UsageError
from trunkline.sql.connections import check_library, check_place, connect, set_busy_timeout
from trunkline.sql.courtesy import Courtesy
from trunkline.sql.database import Dialect, Row
from trunkline.sql.faults import fault_of, is_busy
from trunkline.sql.hold import Hold
from trunkline.sql.readers import snapshot
from trunkline.sql.turnstile import Turnstile
from trunkline.sql.writer import WorkThread, Writer

#: Of the time that others wait for a turn, the part a transaction may last.
HOLD_SHARE: Final = 0.8
#: Between two tries of a read that met another program's lock, and how often.
READ_PAUSE: Final = 0.002
READ_TRIES: Final = 500

_CONTROL: Final = re.compile(r"\s*(?:BEGIN|COMMIT|END|ROLLBACK|SAVEPOINT|RELEASE)\b", re.IGNORECASE)


def file_holds(path: Path, table: str) -> bool:
    """Tell whether a file is a SQLite database with a table; opening it as a store changes it.

    Args:
        path: The file.
        table: The table's name.
    """
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        with contextlib.closing(connection):
            wanted = "SELECT 1 FROM sqlite_schema WHERE name = ?"
            return connection.execute(wanted, (table,)).fetchone() is not None
    except sqlite3.Error:
        return False


class SQLiteTransaction:
    """Run statements on the loop, inside a turn of the file's one writer.

    Args:
        hold: The turn.
    """

    dialect = Dialect.SQLITE

    def __init__(self, hold: Hold) -> None:
        self._hold = hold

    @property
    def native(self) -> sqlite3.Connection:
        """Return the writing connection."""
        return self._hold.connection

    async def execute(self, statement: str, *values: Any) -> int:
        """Run a statement and return how many rows it touched."""
        return self._run(_checked(statement), values).rowcount

    async def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement once for each row of values."""
        connection = self._hold.connection
        try:
            connection.executemany(_checked(statement), rows)
        finally:
            self._hold.check()

    async def fetch(self, statement: str, *values: Any) -> Sequence[Row]:
        """Run a statement and return its rows."""
        return self._run(_checked(statement), values).fetchall()

    async def write(self, statement: str, *values: Any) -> None:
        """Run a statement at once: here it is no round trip."""
        self._run(_checked(statement), values)

    async def flush(self) -> None:
        """Do nothing: all was run at once."""

    async def set_savepoint(self, name: str) -> None:
        """Begin a part that can be undone by itself."""
        self._control(f"SAVEPOINT {name}")

    async def renew_savepoint(self, name: str) -> None:
        """Keep what the part did and begin the next one."""
        self._control(f"RELEASE {name}")
        self._control(f"SAVEPOINT {name}")

    async def release_savepoint(self, name: str) -> None:
        """Keep what the part did."""
        self._control(f"RELEASE {name}")

    async def undo_savepoint(self, name: str) -> None:
        """Undo what the part did, and end it."""
        self._control(f"ROLLBACK TO {name}")
        self._control(f"RELEASE {name}")

    def _control(self, statement: str) -> None:
        self._hold.connection.execute(statement)

    def _run(self, statement: str, values: Sequence[Any]) -> sqlite3.Cursor:
        cursor = self._hold.connection.cursor()
        cursor.row_factory = sqlite3.Row
        try:
            return cursor.execute(statement, values)
        finally:
            self._hold.check()


# Applications run the same statements again and again.
@lru_cache(maxsize=1024)
def _checked(statement: str) -> str:
    if control := _CONTROL.match(statement):
        raise UsageError(
            f"{control[0].strip().upper()} is not for you to say here: leave the transaction's "
            "block to commit, raise to roll back, and use its savepoint()"
        )
    return statement


class SQLiteDatabase:
    """Be one SQLite file.

    Args:
        writer: Its one writer in this process.
        near: A reading connection that never waits.
        path: The file.
        busy_timeout: Seconds that others wait for a turn.
        close: Blocks until everything is released; None when the file is somebody else's.
    """

    dialect = Dialect.SQLITE
    schema = ""

    def __init__(
        self,
        writer: Writer,
        near: sqlite3.Connection,
        path: Path,
        *,
        busy_timeout: float,
        close: Callable[[], None] | None = None,
    ) -> None:
        self.place = str(path)
        self._writer = writer
        self._near = near
        self._path = path
        self._limit = busy_timeout * HOLD_SHARE
        self._close = close
        self._version = -1

    @classmethod
    async def open(cls, path: Path, *, busy_timeout: float = 5.0) -> Self:
        """Open a file of its own, created if missing, and put it into WAL mode.

        Args:
            path: The file.
            busy_timeout: Seconds to wait for other programs' locks.

        Raises:
            LogError: It cannot be used; the message names the cause and the fix.
        """
        loop = asyncio.get_running_loop()
        turnstile, writing, near = await asyncio.to_thread(_open, path, busy_timeout)
        thread = WorkThread("trunkline-store", loop, Courtesy(loop))
        writer = Writer(
            writing, path, turnstile=turnstile, thread=thread, busy_timeout=busy_timeout
        )

        def close() -> None:
            thread.stop()
            writing.close()
            near.close()
            turnstile.close()

        return cls(writer, near, path, busy_timeout=busy_timeout, close=close)

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[Hold]:
        """Hold the writer's turn; leaving commits, leaving with an error rolls back.

        Raises:
            UsageError: The running task holds it already.
            LogError: The turn could not be had, or the commit failed; nothing was stored.
        """
        if self._writer.is_held_by_caller:
            raise UsageError(
                "this task is inside a transaction on the same file: use that one's tx, or begin "
                "another one after it"
            )
        hold = Hold(limit=self._limit, place=self.place)
        self._writer.submit(hold)
        try:
            await hold.begin()
            yield hold
            await hold.commit()
        except BaseException:
            await hold.roll_back()
            raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[SQLiteTransaction]:
        """Begin a transaction; leaving it commits, leaving it with an error rolls back."""
        async with self.hold() as hold:
            yield SQLiteTransaction(hold)

    async def fetch(self, statement: str, *values: Any) -> Sequence[Row]:
        """Run a short read on the loop and return its rows.

        Raises:
            LogError: The file cannot be read.
        """
        for _ in range(READ_TRIES):
            try:
                return snapshot(self._near, lambda one: _rows(one, statement, values))
            except sqlite3.Error as error:
                if not is_busy(error):
                    raise fault_of(error, self._path) from error
            await asyncio.sleep(READ_PAUSE)
        raise LogUnavailableError(f"another program locks {self._path} against reading")

    async def may_have_changed(self) -> bool:
        """Tell whether any connection committed since the last call."""
        try:
            version: int = self._near.execute("PRAGMA data_version").fetchone()[0]
        except sqlite3.Error as error:
            if is_busy(error):
                return True
            raise fault_of(error, self._path) from error
        changed = version != self._version
        self._version = version
        return changed

    async def close(self) -> None:
        """Finish what was begun and release the file, if it is ours. Idempotent."""
        close, self._close = self._close, None
        if close is not None:
            await self._writer.drain()
            await asyncio.to_thread(close)


def _rows(connection: sqlite3.Connection, statement: str, values: Sequence[Any]) -> Sequence[Row]:
    cursor = connection.cursor()
    cursor.row_factory = sqlite3.Row
    return cursor.execute(statement, values).fetchall()


def _open(
    path: Path, busy_timeout: float
) -> tuple[Turnstile, sqlite3.Connection, sqlite3.Connection]:
    check_library()
    check_place(path)
    turnstile = Turnstile(Path(f"{path}.turn"))
    made: list[sqlite3.Connection] = []
    try:
        made.append(connect(path, busy_timeout=busy_timeout))
        made.append(connect(path, busy_timeout=busy_timeout, is_reader=True))
    except BaseException:
        for connection in made:
            connection.close()
        turnstile.close()
        raise
    set_busy_timeout(made[1], 0)
    return turnstile, made[0], made[1]
