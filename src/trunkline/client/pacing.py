"""When to try again: exponential back-off with jitter, never before the server's own word."""

from __future__ import annotations

from trunkline.client.failures import Interruption
from trunkline.client.settings import Settings
from trunkline.runtime.loops import Backoff
from trunkline.wire.http import MAX_RETRY_AFTER

SETTLED_AFTER = 10.0


class Pace:
    """Say how long to wait after each failed or lost connection.

    A connection that delivered something, or stood for ten seconds, makes the next back-off start
    anew; a server that accepts and drops at once is met ever more slowly.

    Args:
        settings: The client's.
    """

    def __init__(self, settings: Settings) -> None:
        self._clock = settings.clock
        self._backoff = Backoff(settings.first_delay, settings.max_delay, chance=settings.chance)
        self._since: float | None = None

    def connect(self) -> None:
        """Note that an attempt begins."""
        self._since = None

    def establish(self) -> None:
        """Note that the server answered as it should."""
        self._since = self._clock.monotonic()

    def progress(self) -> None:
        """Note that the connection delivered something."""
        self._backoff.succeed()

    def delay(self, interruption: Interruption) -> float:
        """Count a failure and return the seconds to wait before the next attempt."""
        if self._since is not None and self._clock.monotonic() - self._since > SETTLED_AFTER:
            self._backoff.succeed()
        wait = min(interruption.wait or 0.0, MAX_RETRY_AFTER)
        return max(wait, self._backoff.next_delay())
