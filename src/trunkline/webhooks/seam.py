"""The seam of the room: what the signals' half hands to the delivering half, and takes from it.

A transmission is claimed first and prepared then, so that what is read for it is never older
than the claim: a change that comes later finds no queued transmission, and makes another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol
from uuid import UUID

import msgspec

Key = str | int | UUID

#: The states of a transmission.
QUEUED: Final = "queued"
SENDING: Final = "sending"
SENT: Final = "sent"
FAILED: Final = "failed"  # and due again
DEAD: Final = "dead"  # given up
WITHDRAWN: Final = "withdrawn"  # nobody may have it any more
STATES: Final = (QUEUED, SENDING, SENT, FAILED, DEAD, WITHDRAWN)


class Transmission(msgspec.Struct, frozen=True, kw_only=True):
    """Be one notice on its way to one endpoint.

    Args:
        seq: Its number in the store.
        id: The delivery id, the same in every attempt.
        endpoint_id: Where it goes.
        app_id: Whose endpoint that is; None for a callback.
        account_type: Whose notice it is.
        account_id: Whose notice it is.
        signal_name: Which kind of notice.
        signal_class: The class that was fired.
        action: What happened.
        object_id: To what; None for an object without an id.
        context: What was captured then.
        body: What is sent as it is; None for what is read late.
        order_key: Others of its endpoint with the same key wait for it; None for no order.
        state: One of :data:`STATES`.
        attempts: How often it was tried.
        created_at: Unix seconds.
        due_at: When it is to be tried, Unix seconds; None when it is over.
        finished_at: When it was over, Unix seconds.
        last_status: The last answer's status.
        last_error: What went wrong last.
        resend_of: The delivery id that it repeats.
    """

    seq: int
    id: str
    endpoint_id: str
    app_id: str | None
    account_type: str
    account_id: Key
    signal_name: str
    signal_class: str
    action: str
    object_id: Key | None
    context: dict[str, Any]
    body: bytes | None = None
    order_key: str | None = None
    state: str = QUEUED
    attempts: int = 0
    created_at: float = 0.0
    due_at: float | None = None
    finished_at: float | None = None
    last_status: int | None = None
    last_error: str | None = None
    resend_of: str | None = None


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """Be a request, ready to be signed and sent.

    Args:
        url: Where to.
        body: Exactly what is signed.
        headers: Content type, user agent and what the format asks for; no signature.
        secrets: All that are valid now, the current one first, as text: ``whsec_…`` (v1),
            ``whsk_…`` (v1a), or anything else, whose bytes are the key (Demux).
        format: ``standard``, ``cloudevents`` or ``demux``; says how it is signed.
    """

    url: str
    body: bytes
    headers: Mapping[str, str]
    secrets: tuple[str, ...]
    format: str = "standard"

    def __repr__(self) -> str:
        return f"<Outgoing {len(self.body)} bytes, {self.format}>"


class Desk(Protocol):
    """Hold what was looked up for a batch of claimed transmissions."""

    async def prepare(self, transmission: Transmission) -> Outgoing:
        """Read the latest state of one of them, and make its request.

        Raises:
            WithdrawnError: It must not be sent any more; no attempt was made.
            PayloadError: Its payload can't be made; that counts as an attempt.
        """


class Preparer(Protocol):
    """Make requests out of claimed transmissions."""

    async def look_up(self, transmissions: Sequence[Transmission]) -> Desk:
        """Look up, at once for all, whether they may still be sent, where to, and how signed."""

    async def prepare(self, transmission: Transmission) -> Outgoing:
        """Do both for one."""


class Transmitter(Protocol):
    """Send what is queued."""

    def poke(self) -> None:
        """Look at once whether something is due, if this process sends."""

    async def transmit(self, ids: Sequence[str]) -> None:
        """Claim those of these delivery ids that are queued, due or not, and try each once.

        The outcome is recorded; nothing that a receiver or a payload does is raised.
        """
