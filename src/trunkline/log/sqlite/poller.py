"""Hearing of other processes' commits: asking ``data_version``, often when something happens."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable

from trunkline.log.sqlite import statements as sql
from trunkline.sql.faults import is_busy

logger = logging.getLogger(__name__)

#: Seconds between two questions while others write, and when nothing has happened for long.
FASTEST = 0.0015
SLOWEST = 0.020
#: Questions in a row without news before they become rarer.
KEEN_FOR = 60
SLOWING = 1.25


class Poller:
    """Ask, on a loop timer, whether the line's head has moved.

    One question costs some microseconds: a look into the shared memory of the write-ahead log.

    Args:
        connection: A reading connection that never waits for locks.
        tell: Called with head and epoch after any other connection's commit, this process's
            own included; says whether that was news.
    """

    def __init__(self, connection: sqlite3.Connection, tell: Callable[[int, str], bool]) -> None:
        self._connection = connection
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._version = -1
        self._pause = SLOWEST
        self._quiet = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to ask. Idempotent."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._pause, self._ask)

    def stop(self) -> None:
        """Ask no more. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ask(self) -> None:
        try:
            has_news = self._look()
        except sqlite3.Error as error:
            has_news = False
            if not is_busy(error):
                logger.warning("the line cannot be asked for news: %s", error)
        if has_news:
            self._quiet, self._pause = 0, FASTEST
        else:
            self._quiet += 1
            if self._quiet > KEEN_FOR:
                self._pause = min(SLOWEST, self._pause * SLOWING)
        self._timer = self._loop.call_later(self._pause, self._ask)

    def _look(self) -> bool:
        version = self._connection.execute(sql.DATA_VERSION).fetchone()[0]
        if version == self._version:
            return False
        self._version = version
        line = self._connection.execute(sql.READ_NEWS).fetchone()
        return line is not None and self._tell(*line)
