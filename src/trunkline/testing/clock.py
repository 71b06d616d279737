"""A clock that stands still until a test moves it."""

from __future__ import annotations


class ManualClock:
    """Tell a time that only the test changes.

    Args:
        start: Unix seconds to begin at.
    """

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = start
        self._monotonic = 1000.0

    def now(self) -> float:
        """Return Unix seconds."""
        return self._now

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Args:
            seconds: How much, 0 or more.

        Raises:
            ValueError: It is negative; use :meth:`step` for a clock that is set back.
        """
        if seconds < 0:
            raise ValueError(f"time does not pass by {seconds} seconds")
        self._now += seconds
        self._monotonic += seconds

    def step(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an administrator would; no time passes.

        Args:
            seconds: By how much.
        """
        self._now += seconds
