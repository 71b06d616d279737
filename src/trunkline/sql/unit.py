"""The seam between the one writer and those who want something written."""

from __future__ import annotations

import sqlite3
from typing import Protocol


class Unit(Protocol):
    """Be one transaction's worth of work.

    The writer calls :meth:`work` inside a transaction, then :meth:`finish`, commits, and calls
    :meth:`settle`; or, when anything fails, rolls back and calls :meth:`settle` with the error.
    """

    #: Whether :meth:`work` is long and belongs into the writer's thread, not on the loop.
    is_long: bool

    @property
    def is_small(self) -> bool:
        """Tell whether, after :meth:`work`, there is little to commit and nothing to finish."""

    def work(self, connection: sqlite3.Connection) -> bool:
        """Do the reading and writing, and tell whether there is anything to commit."""

    def finish(self, connection: sqlite3.Connection) -> None:
        """Do what may take long and needs no decision, in the writer's thread."""

    def settle(self, error: BaseException | None) -> None:
        """Learn, on the loop, that it is durable (None), or why nothing was stored."""
