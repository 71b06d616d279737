"""Forks: a line is closed before the process forks, and both sides go on where it stood.

Connections, locks and threads don't survive a fork, and SQLite's own bookkeeping of a file's locks
must not be inherited open (see "How To Corrupt An SQLite Database File", section 2.6, on
sqlite.org). A line that was closed first has none of them.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

_lines: weakref.WeakSet[Forking] = weakref.WeakSet()


class Forking(Protocol):
    """Be what must be closed before a fork."""

    def before_fork(self) -> None:
        """Close; no call may begin from here on."""

    def after_fork_in_parent(self) -> None:
        """Let calls begin again."""

    def after_fork(self) -> None:
        """Forget the parent's threads, and let calls begin."""


def watch(line: Forking) -> None:
    """Have a line told of every fork that Python makes, for as long as it lives."""
    _lines.add(line)


class Gate:
    """Let calls through, except while the process forks."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._is_shut = False

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Be a call; waits while the gate is shut."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_shut)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def shut(self, patience: float) -> None:
        """Let nobody in, and wait for those inside.

        Args:
            patience: Seconds to wait at most.
        """
        with self._changed:
            self._is_shut = True
            self._changed.wait_for(lambda: not self._inside, patience)

    def open(self) -> None:
        """Let calls in again."""
        with self._changed:
            self._is_shut = False
            self._changed.notify_all()


def _before() -> None:
    for line in list(_lines):
        line.before_fork()


def _in_parent() -> None:
    for line in list(_lines):
        line.after_fork_in_parent()


def _in_child() -> None:
    for line in list(_lines):
        line.after_fork()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
