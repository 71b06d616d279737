"""What a log has only while it is open, and only in the process that opened it."""

from __future__ import annotations

import os
from typing import TypeVar

from trunkline.errors import LineClosedError, LogError


class Possession:
    """Hold what is made when a log is opened; the engines add their parts."""

    def __init__(self) -> None:
        self._pid = os.getpid()

    @property
    def is_ours(self) -> bool:
        """Tell whether this process opened it, rather than one that it was forked from."""
        return self._pid == os.getpid()


P = TypeVar("P", bound=Possession)


def possessed(parts: P | None) -> P:
    """Return the parts of a log that is open here.

    Args:
        parts: Its parts, None while it is closed.

    Raises:
        LineClosedError: It is closed.
        LogError: Another process opened it.
    """
    if parts is None:
        raise LineClosedError("this log is closed: open it first")
    if not parts.is_ours:
        raise LogError("this log was opened before a fork: open it in each process by itself")
    return parts
