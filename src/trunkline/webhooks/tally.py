"""What one process has delivered, counted for its metrics."""

from __future__ import annotations

from collections import Counter

from trunkline.webhooks.claims import Outcome


class Tally:
    """Count attempts by outcome, and transmissions by what became of them.

    Attributes:
        attempts: Attempts by outcome: ``delivered``, ``status``, ``timeout`` …
        states: Transmissions that are over, by state; those that are due again as ``failed``.
    """

    def __init__(self) -> None:
        self.attempts: Counter[str] = Counter()
        self.states: Counter[str] = Counter()

    def count(self, outcome: Outcome) -> None:
        """Count what became of a claim."""
        self.states[outcome.state] += 1
        if outcome.attempt is not None:
            self.attempts[outcome.attempt.outcome] += 1

    @property
    def success_rate(self) -> float | None:
        """Return the part of the attempts that delivered, or None before the first."""
        made = sum(self.attempts.values())
        return self.attempts["delivered"] / made if made else None
