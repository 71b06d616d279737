"""How many requests an endpoint gets at once, and how many in a second."""

from __future__ import annotations

from typing import Final

#: Requests under way with which an endpoint begins.
FIRST: Final = 4.0
#: Seconds within which further trouble is the same trouble.
SAME: Final = 1.0


class Window:
    """Bound the requests under way by what the endpoint has shown it can take.

    Additive increase, multiplicative decrease, as in TCP's congestion avoidance (RFC 5681); up to
    the first trouble each success adds one, so that the window doubles with every round trip.

    Args:
        most: Never more than this.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._limit = min(FIRST, float(most))
        self._is_starting = True
        self._narrowed_at = float("-inf")

    @property
    def limit(self) -> int:
        """Return how many requests may be under way."""
        return min(int(self._limit), self.most)

    def widen(self, in_flight: int) -> None:
        """Learn of a success while so many were under way."""
        if in_flight + 1 >= self.limit:  # a window that is not filled has shown nothing
            step = 1.0 if self._is_starting else 1.0 / self._limit
            self._limit = min(float(self.most), self._limit + step)

    def narrow(self, now: float) -> None:
        """Learn of a timeout, a refusal or a plea to slow down."""
        self._is_starting = False
        if now - self._narrowed_at >= SAME:
            self._narrowed_at = now
            self._limit = max(1.0, self._limit / 2)


class Bucket:
    """Bound the requests in a second: a bucket of tokens that fills steadily.

    Args:
        rate: Tokens per second; the bucket holds one second's worth, and at least one.
        now: Monotonic seconds.
    """

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._most = max(1.0, rate)
        self._tokens = self._most
        self._at = now

    def available(self, now: float) -> int:
        """Return how many may go now."""
        self._tokens = min(self._most, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return int(self._tokens)

    def take(self, count: int) -> None:
        """Let so many go."""
        self._tokens -= count
