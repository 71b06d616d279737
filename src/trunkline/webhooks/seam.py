"""The seam of the room: the states of a transmission, and what the signals ask of the delivery.

The other direction is in :mod:`trunkline.webhooks.outgoing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

QUEUED: Final = "queued"
SENDING: Final = "sending"
SENT: Final = "sent"
FAILED: Final = "failed"  # and due again
DEAD: Final = "dead"  # given up
WITHDRAWN: Final = "withdrawn"  # nobody may have it any more
STATES: Final = (QUEUED, SENDING, SENT, FAILED, DEAD, WITHDRAWN)


class Transmitter(Protocol):
    """Send what is queued."""

    def poke(self) -> None:
        """Look at once whether something is due, if this process sends."""

    async def transmit(self, ids: Sequence[str]) -> None:
        """Claim those of these delivery ids that are queued, due or not, and try each once.

        The outcome is recorded; nothing that a receiver or a payload does is raised.
        """
