"""What one client, and all of them together, may ask of this process."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from trunkline.errors import LimitExceededError
from trunkline.gateway.options import GatewayOptions
from trunkline.gateway.request import Request
from trunkline.model.identity import Identity
from trunkline.runtime.clock import Clock, SystemClock, jitter

BUCKETS_KEPT: Final = 20_000


def client_key(identity: Identity, address: str) -> str:
    """Name whom limits per client count for: the user, or the address where there is no user."""
    if identity.user_id is None:
        return f"address:{address}"
    return f"user:{identity.site_id or ''}:{identity.user_id!r}"


def check_size(request: Request, options: GatewayOptions) -> None:
    """Refuse a request whose head is too large.

    Args:
        request: The request.
        options: The limits.

    Raises:
        LimitExceededError: Its headers (431) or its query string (414) are.
    """
    size = sum(len(name) + len(value) + 4 for name, value in request.scope["headers"])
    if size > options.max_header_bytes:
        raise LimitExceededError("max_header_bytes", options.max_header_bytes, status=431)
    if len(request.raw_query) > options.max_query_bytes:
        raise LimitExceededError("max_query_bytes", options.max_query_bytes, status=414)


class RateLimiter:
    """Give each client a bucket of tokens that fills at a steady rate; a request takes one.

    The table is bounded: the client seen longest ago is forgotten first, with a full bucket.

    Args:
        options: Whose ``requests_per_second`` and ``burst`` hold at each request.
        clock: Tells the time.
    """

    def __init__(self, options: GatewayOptions, clock: Clock | None = None) -> None:
        self._options = options
        self._clock = clock or SystemClock()
        # Client to its tokens and when they were counted.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, client: str) -> None:
        """Take a token for a request.

        Args:
            client: As :func:`client_key` names it.

        Raises:
            LimitExceededError: There is none; it says when there will be.
        """
        rate = self._options.requests_per_second
        if rate is None:
            self._buckets.clear()
            return
        now = self._clock.monotonic()
        tokens, since = self._buckets.pop(client, (float(self._options.burst), now))
        tokens = min(float(self._options.burst), tokens + max(0.0, now - since) * rate)
        has_token = tokens >= 1.0
        self._buckets[client] = (tokens - 1.0 if has_token else tokens, now)
        while len(self._buckets) > BUCKETS_KEPT:
            self._buckets.popitem(last=False)
        if not has_token:
            wait = (1.0 - tokens) / rate
            raise LimitExceededError("requests_per_second", rate, retry_after=wait)


class ConnectionLimits:
    """Count the streams and WebSockets of this process, all together and per client.

    Args:
        options: Whose ``max_connections`` and ``max_connections_per_client`` hold.
    """

    def __init__(self, options: GatewayOptions) -> None:
        self._options = options
        self._by_client: dict[str, int] = {}
        self._total = 0

    @property
    def total(self) -> int:
        """Count the connections."""
        return self._total

    def enter(self, client: str) -> None:
        """Count one more connection; whoever enters must leave.

        Args:
            client: As :func:`client_key` names it.

        Raises:
            LimitExceededError: There are as many as there may be; nothing was counted.
        """
        options = self._options
        held = self._by_client.get(client, 0)
        per_client = options.max_connections_per_client
        wait = jitter(options.retry_after)
        if per_client is not None and held >= per_client:
            raise LimitExceededError("max_connections_per_client", per_client, retry_after=wait)
        if self._total >= options.max_connections:
            raise LimitExceededError("max_connections", options.max_connections, retry_after=wait)
        self._by_client[client] = held + 1
        self._total += 1

    def leave(self, client: str) -> None:
        """Count one connection less."""
        held = self._by_client.get(client, 0)
        if not held:
            return
        self._total -= 1
        if held > 1:
            self._by_client[client] = held - 1
        else:
            del self._by_client[client]
