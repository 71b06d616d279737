"""Reading connections: a few threads, each read one short snapshot beside the writer."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, LifoQueue
from typing import TypeVar

from trunkline.sql.connections import connect
from trunkline.sql.courtesy import Courtesy
from trunkline.sql.faults import fault_of

T = TypeVar("T")


class Readers:
    """Run reads in a small pool of threads, each on a connection of its own.

    Args:
        path: The database file.
        count: How many reads may run at once.
        busy_timeout: Seconds a read waits for a program that locks readers out.
        courtesy: Keeps a busy loop from starving the threads.
    """

    def __init__(self, path: Path, *, count: int, busy_timeout: float, courtesy: Courtesy) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        self._courtesy = courtesy
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="trunkline-read")
        self._connections: LifoQueue[sqlite3.Connection] = LifoQueue()
        self._made: list[sqlite3.Connection] = []

    async def run(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Run *read* inside one read transaction, so that all it sees is of one moment.

        Args:
            read: Called in a thread with the connection; must be short.

        Returns:
            What it returned.

        Raises:
            LogError: SQLite failed.
        """
        loop = asyncio.get_running_loop()
        self._courtesy.begin()
        try:
            return await loop.run_in_executor(self._threads, self._read, read)
        finally:
            self._courtesy.end()

    def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._take()
        try:
            return snapshot(connection, read)
        except sqlite3.Error as error:
            raise fault_of(error, self._path) from error
        finally:
            self._connections.put(connection)

    def _take(self) -> sqlite3.Connection:
        with contextlib.suppress(Empty):
            return self._connections.get_nowait()
        connection = connect(self._path, busy_timeout=self._busy_timeout, is_reader=True)
        self._made.append(connection)
        return connection

    def close(self) -> None:
        """Finish running reads and close the connections. Blocks."""
        self._threads.shutdown(wait=True)
        for connection in self._made:
            connection.close()


def snapshot(connection: sqlite3.Connection, read: Callable[[sqlite3.Connection], T]) -> T:
    """Run *read* inside a read transaction of its own."""
    connection.execute("BEGIN")
    try:
        return read(connection)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
