"""Time and chance as arguments, so that tests can set them."""

from __future__ import annotations

import random
import time
from typing import Protocol


class Clock(Protocol):
    """Tell the time."""

    def now(self) -> float:
        """Return Unix seconds."""

    def monotonic(self) -> float:
        """Return seconds that never run backwards, from some start."""


class SystemClock:
    """Tell the machine's time."""

    def now(self) -> float:
        """Return Unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds since some start, never running backwards."""
        return time.monotonic()


def jitter(seconds: float, *, spread: float = 0.5, chance: random.Random | None = None) -> float:
    """Return *seconds* moved by up to ±*spread* of itself, so that many peers don't act at once.

    Args:
        seconds: The delay to spread.
        spread: Share of it by which it may grow or shrink.
        chance: A source of randomness; the process's own by default.
    """
    draw = (chance or random).uniform(-spread, spread)
    return seconds * (1.0 + draw)
