"""Turns between processes: one file lock, since SQLite's own waiting is unfair.

The lock belongs to the open file description: it is opened close-on-exec, a forked child drops
its copy at once, and the kernel frees it when the process dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import weakref
from pathlib import Path

from trunkline.errors import LogError

_open: weakref.WeakSet[Turnstile] = weakref.WeakSet()


class Turnstile:
    """Let one process at a time through.

    Args:
        path: The side file, made when missing.

    Raises:
        LogError: The file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            self._fd = os.open(path, flags, 0o666)
        except OSError as error:
            raise LogError(
                f"{path} cannot be opened for writing ({error.strerror}): give this user write "
                "permission for the database's directory"
            ) from error
        _open.add(self)

    def try_enter(self) -> bool:
        """Enter unless another process is inside, and tell whether it worked."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def enter(self) -> None:
        """Wait, first come first served, and enter. Blocks the thread."""
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def leave(self) -> None:
        """Let the next one in; does nothing outside or after :meth:`close`."""
        if self._fd >= 0:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Leave for good. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _drop_after_fork() -> None:
    # Without this a child would keep its parent's lock alive after the parent's death.
    for turnstile in list(_open):
        with contextlib.suppress(OSError):
            turnstile.close()


os.register_at_fork(after_in_child=_drop_after_fork)
