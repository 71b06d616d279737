"""What every endpoint of one gateway shares, in one value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from trunkline.channels.bus import Bus
from trunkline.channels.hub import Hub
from trunkline.channels.presence import Presences
from trunkline.entities.wing import Entities
from trunkline.gateway.access import Gatekeeper
from trunkline.gateway.answer import Answer
from trunkline.gateway.failures import Failures
from trunkline.gateway.intercom import Intercom
from trunkline.gateway.limits import ConnectionLimits, RateLimiter, client_key
from trunkline.gateway.options import GatewayOptions
from trunkline.gateway.origins import Origins
from trunkline.gateway.request import Request, Send
from trunkline.log.port import Log
from trunkline.model.identity import Identity
from trunkline.runtime.clock import Clock


class Endpoint(Protocol):
    """Serve the requests of some paths.

    It returns an answer, which the gateway sends with the request's ``response_headers``; or None
    when it has sent, or handed over, everything itself (then with those headers in its head).
    What it raises becomes a problem, as long as nothing was sent.
    """

    async def __call__(self, request: Request, send: Send) -> Answer | None:
        """Serve one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Hold what the endpoints of a gateway share.

    Args:
        log: The open log.
        hub: This process's hub on it.
        bus: Publishes.
        options: The settings; read them at each use.
        gatekeeper: Says who asks and what it may read.
        origins: Says which pages may use the gateway.
        rates: Counts requests per client.
        limits: Counts streams and WebSockets.
        failures: Turns exceptions into answers.
        intercom: Where processes speak to each other.
        clock: Tells the time.
        entities: Who watches what; None where no entities can be.
        presences: Gives what knows who is where; None where nobody is seen.
    """

    log: Log
    hub: Hub
    bus: Bus
    options: GatewayOptions
    gatekeeper: Gatekeeper
    origins: Origins
    rates: RateLimiter
    limits: ConnectionLimits
    failures: Failures
    intercom: Intercom
    clock: Clock
    entities: Entities | None = None
    presences: Callable[[], Presences] | None = None

    async def admit(self, request: Request) -> Identity:
        """Find out who a request comes from, and count it.

        From here on its revocation would be heard: see :class:`Custody`.

        Args:
            request: The request.

        Returns:
            The identity.

        Raises:
            UnknownIdentityError: Nobody is known for it.
            LimitExceededError: This client asks too often.
            LogError: The log cannot be read.
        """
        await self.intercom.open()
        request.admitted_at = self.clock.monotonic()
        try:
            identity = await self.gatekeeper.identify(request)
        except Exception:
            # Guessing costs as much as asking.
            self.rates.check(f"address:{request.address}")
            raise
        self.rates.check(client_key(identity, request.address))
        return identity
