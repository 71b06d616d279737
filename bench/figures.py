"""A figure: what was measured, beside what, and what it must reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any


@dataclass
class Figure:
    """Hold one line of the results.

    Args:
        row: Which row of the targets it belongs to.
        name: What was measured.
        unit: Of the figure and its peer's.
        runs: What each run gave; the figure is their median.
        peer: What the peer is.
        peer_runs: The same for the peer, run by turns with ours.
        target: What must be reached.
        is_ratio: Whether the target is about the ratio to the peer.
        at_least: The bound, if the target is one from below.
        at_most: The bound, if the target is one from above.
        note: What else there is to know.
    """

    row: str
    name: str
    unit: str
    runs: Sequence[float]
    peer: str = ""
    peer_runs: Sequence[float] = ()
    target: str = ""
    is_ratio: bool = False
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """Return the median of the runs."""
        return median(self.runs)

    @property
    def peer_value(self) -> float | None:
        """Return the median of the peer's runs."""
        return median(self.peer_runs) if self.peer_runs else None

    @property
    def ratio(self) -> float | None:
        """Return our figure in units of the peer's: the median over runs, each with its own peer's.

        Neighbours in time are compared, so that a slow minute spoils both alike.
        """
        pairs = zip(self.runs, self.peer_runs, strict=False)
        ratios = [ours / peer for ours, peer in pairs if peer]
        return median(ratios) if ratios else None

    @property
    def is_met(self) -> bool | None:
        """Tell whether the target is reached; None where there is none."""
        measured = self.ratio if self.is_ratio else self.value
        if measured is None or (self.at_least is None and self.at_most is None):
            return None
        return (self.at_least is None or measured >= self.at_least) and (
            self.at_most is None or measured <= self.at_most
        )

    def as_dict(self) -> dict[str, Any]:
        """Return everything, for the JSON file."""
        return {
            **asdict(self),
            "value": self.value,
            "peer_value": self.peer_value,
            "ratio": self.ratio,
            "is_met": self.is_met,
        }


@dataclass(frozen=True)
class Plan:
    """Say how much to measure.

    Args:
        runs: Runs of each measurement, ours and the peer's by turns.
        effort: Factor for the length of each run.
        crowd: Connections where many are held.
    """

    runs: int = 3
    effort: float = 1.0
    crowd: int = 5000

    def rounds(self, number: int) -> int:
        """Scale a number of messages."""
        return max(10, round(number * self.effort))

    def seconds(self, number: float) -> float:
        """Scale a duration."""
        return max(1.0, number * self.effort)
