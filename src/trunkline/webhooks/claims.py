"""What the courier carries between the store and the network."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from trunkline.webhooks.breaker import Health
from trunkline.webhooks.delivery_options import EndpointOptions
from trunkline.webhooks.outgoing import Transmission

#: A due time that never comes: it waits for another one with the same key.
WAITING = 1e15


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Be an endpoint as the store has it.

    Args:
        id: Its id.
        app_id: The app whose endpoint it is, or None.
        tenant: Whose it is, for fairness among endpoints.
        url: Where it is.
        options: How it is delivered to.
        health: How it fares.
    """

    id: str
    app_id: str | None
    tenant: str
    url: str
    options: EndpointOptions
    health: Health


class Lane(msgspec.Struct, frozen=True):
    """Be what one tenant has queued for one endpoint, and when the first of it is due."""

    endpoint_id: str
    tenant: str
    due_at: float


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Be a transmission that this process may send until the lease ends.

    Args:
        transmission: What.
        tries: Attempts since it was queued, or an operator had it sent again.
    """

    transmission: Transmission
    tries: int


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """Be one attempt, as it is kept.

    Args:
        number: 1 for the first.
        started_at: Unix seconds.
        outcome: ``delivered``, ``status``, ``payload``, ``lost``, or as
            :class:`trunkline.webhooks.outlet.CallFailedError` has it.
        status: The answer's.
        error: What went wrong.
        timing: Seconds of each part, as JSON.
        request: URL and headers without signatures, as JSON.
        request_body: What was sent, if that is kept.
        response_headers: As JSON.
        response_body: Its beginning.
    """

    number: int
    started_at: float
    outcome: str
    status: int | None = None
    error: str | None = None
    timing: str | None = None
    request: str | None = None
    request_body: bytes | None = None
    response_headers: str | None = None
    response_body: bytes | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Be what became of a claim.

    Args:
        claim: Which.
        state: Its state from now on.
        due_at: When it is due again, or None when it is over.
        error: What went wrong, if something did.
        attempt: The attempt, or None if none was made.
        pause: Seconds for which the endpoint wants to be left alone.
        gone: Whether the endpoint is gone for ever.
        is_trouble: Whether the endpoint should get fewer requests at once.
    """

    claim: Claim
    state: str
    due_at: float | None = None
    error: str | None = None
    attempt: Attempt | None = None
    pause: float | None = None
    gone: bool = False
    is_trouble: bool = False


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Tell of an endpoint that fails for long, or was disabled.

    Args:
        endpoint: Which, as it is now.
        percent: How much of the time until it is disabled has gone; 100 when it is disabled.
        reason: Why it was disabled, or None.
    """

    endpoint: Endpoint
    percent: int
    reason: str | None


Headers = Mapping[str, str]
