"""The cohorts of a gateway by interest and framing; one is there as long as somebody holds it."""

from __future__ import annotations

from collections.abc import Iterator

from trunkline.channels.hub import Hub
from trunkline.gateway.access import Gatekeeper
from trunkline.gateway.cohort import Cohort
from trunkline.gateway.connection import Board, Group
from trunkline.gateway.framing import Framing
from trunkline.model.interest import Interest


class Cohorts:
    """Find cohorts, and register them with the hub.

    Args:
        board: What their members are connected by.
        hub: Where they are registered.
        gatekeeper: Says whether access must be asked per message.
    """

    def __init__(self, board: Board, hub: Hub, gatekeeper: Gatekeeper) -> None:
        self._board = board
        self._hub = hub
        self._gatekeeper = gatekeeper
        self._cohorts: dict[tuple[Interest, Framing], Cohort] = {}

    def __iter__(self) -> Iterator[Cohort]:
        return iter(tuple(self._cohorts.values()))

    def __len__(self) -> int:
        return len(self._cohorts)

    async def join(self, interest: Interest, framing: Framing) -> Cohort:
        """Register with a cohort; whoever joins must attach or leave.

        Args:
            interest: What is wanted.
            framing: How it is written.

        Returns:
            The cohort, its track set.
        """
        key = (interest, framing)
        cohort = self._cohorts.get(key)
        if cohort is None:
            is_guarded = bool(interest.patterns) and not self._gatekeeper.is_open
            cohort = self._cohorts[key] = Cohort(
                self._board, interest, framing, is_guarded=is_guarded
            )
        cohort.holders += 1
        try:
            cohort.track = await self._hub.join(interest, cohort.wake)
        except BaseException:
            self._drop(cohort)
            raise
        return cohort

    def leave(self, cohort: Group) -> None:
        """Take a registration back."""
        if cohort.track is not None:
            self._hub.leave(cohort.track, cohort.wake)
        self._drop(cohort)

    def _drop(self, cohort: Group) -> None:
        cohort.holders -= 1
        key = (cohort.interest, cohort.framing)
        if not cohort.holders and self._cohorts.get(key) is cohort:
            del self._cohorts[key]
