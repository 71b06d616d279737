"""Which commits the event loop does itself, because handing them over would take longer.

A commit of one small write to a quick disk takes a tenth of a millisecond or two; to wake a thread
for it, and the loop again, takes as long. But a disk may be slow at any moment, and then the loop
must not be the one that waits. So the loop does a commit itself only while the latest were quick,
never many in a row, never one that checkpoints; and each time it was held up, the next commits,
twice as many as the last time, are done in the thread. See docs/decisions/0008-quick-commits.md.
"""

from __future__ import annotations

from typing import Final

#: Seconds that a commit may take, in the mean of the latest, and how many of them count.
QUICK: Final = 0.0003
MEMORY: Final = 16
#: What one commit counts for at most, so that a single stall is forgotten after a while.
CEILING: Final = 10 * QUICK
#: Seconds after which the loop was held up.
SLOW: Final = 0.005
#: Commits in a row that the loop does at most; the next one may checkpoint, in the thread.
RUN: Final = 200
#: Commits that go to the thread after the loop was held up: at first, and at most.
FEWEST: Final = 200
MOST: Final = 20_000


class Haste:
    """Learn from how long commits took."""

    def __init__(self) -> None:
        self._mean = CEILING
        self._run = 0
        self._barred = 0
        self._bar = FEWEST

    @property
    def allows(self) -> bool:
        """Tell whether the loop may do the next commit, if it is a small one."""
        return self._mean <= QUICK and not self._barred and self._run < RUN

    def note(self, seconds: float, *, on_loop: bool) -> None:
        """Take how long a commit took.

        Args:
            seconds: From its beginning to its end.
            on_loop: Whether the loop did it.
        """
        if on_loop:
            self._run += 1
            if seconds > SLOW:
                self._barred, self._bar = self._bar, min(MOST, self._bar * 2)
            elif self._run == RUN:
                self._bar = max(FEWEST, self._bar // 2)
        else:
            self._barred = max(0, self._barred - 1)
            ends_run, self._run = self._run >= RUN, 0
            if ends_run:
                return  # it may have checkpointed, and says nothing of the others
        self._mean += (min(seconds, CEILING) - self._mean) / MEMORY
