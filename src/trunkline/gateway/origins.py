"""Which web pages may use the gateway: one setting for CORS and for the check on sockets.

A request without an Origin header comes from no browser page, or from the gateway's own; it is
never refused here. Of the others those pass that come from the gateway's own origin, or from an
allowed one. CORS alone would let a foreign page send a request and only keep it from reading the
answer; so what is not allowed is refused before it does anything.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from trunkline.errors import AccessDeniedError
from trunkline.gateway.options import GatewayOptions
from trunkline.gateway.request import Request
from trunkline.wire.http import Headers

ALLOWED_METHODS: Final = "GET, POST, OPTIONS"
ALLOWED_HEADERS: Final = (
    "X-SILENCE-LOGGER",
    "Dont-Chunk",
    "Content-Type",
    "Authorization",
    "Last-Event-ID",
    "X-Trunkline-Gaps",
)
MAX_ASKED_HEADERS: Final = 32

_PORTS: Final = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}\Z")


class OriginRefusedError(AccessDeniedError):
    """Report a request from a web page of an origin that is not allowed."""

    code = "origin-not-allowed"


class Origins:
    """Judge where requests come from.

    Args:
        options: Whose ``allowed_origins`` are asked at each request.
    """

    def __init__(self, options: GatewayOptions) -> None:
        self._options = options

    def check(self, request: Request) -> None:
        """Refuse a request from a page that may not use the gateway.

        Raises:
            OriginRefusedError: Its origin is neither ours nor allowed.
        """
        origin = request.header("origin")
        if origin is not None and not (self._is_own(request, origin) or self.allows(origin)):
            raise OriginRefusedError(
                f"pages of {origin[:100]!r} may not use this gateway: add the origin to "
                "allowed_origins, or make the proxy in front pass the Host header on"
            )

    def allows(self, origin: str) -> bool:
        """Tell whether the setting allows an origin."""
        text = origin.lower()
        return any(_matches(one, text) for one in self._options.allowed_origins)

    def headers(self, request: Request) -> Headers:
        """Return the CORS headers an answer needs; for OPTIONS also those of a preflight.

        Args:
            request: The request.

        Returns:
            Headers; none while nothing is allowed, or for the gateway's own pages.
        """
        allowed = self._options.allowed_origins
        origin = request.header("origin")
        if not allowed:
            return []
        headers: Headers = [("vary", "Origin")]
        if origin is None or not self.allows(origin):
            return headers
        if any(_matches(one, origin.lower()) for one in allowed if one != "*"):
            headers.append(("access-control-allow-origin", origin))
            headers.append(("access-control-allow-credentials", "true"))
        else:
            # To just any page the answer is given without the user's cookies.
            headers.append(("access-control-allow-origin", "*"))
        headers.append(("access-control-expose-headers", "Retry-After"))
        if request.method == "OPTIONS":
            headers += self._preflight(request)
        return headers

    def _preflight(self, request: Request) -> Headers:
        asked = (request.header("access-control-request-headers") or "").split(",")
        names = {name.lower(): name for name in ALLOWED_HEADERS}
        for name in asked[:MAX_ASKED_HEADERS]:
            text = name.strip()
            if _TOKEN.match(text):
                names.setdefault(text.lower(), text)
        return [
            ("access-control-allow-methods", ALLOWED_METHODS),
            ("access-control-allow-headers", ", ".join(names.values())),
            ("access-control-max-age", str(self._options.cors_max_age)),
        ]

    def _is_own(self, request: Request, origin: str) -> bool:
        # The browser itself says so, which also holds behind a proxy that changes Host.
        if request.header("sec-fetch-site") == "same-origin":
            return True
        ours = host_and_port(origin)
        host = request.header("host")
        if ours is None or host is None:
            return False
        return ours == host_and_port(f"{origin.partition('://')[0]}://{host}")


def host_and_port(origin: str) -> tuple[str, int] | None:
    """Return an origin's host and port, or None when it is no origin."""
    try:
        parts = urlsplit(origin.lower())
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname else None


def _matches(allowed: str, origin: str) -> bool:
    if allowed == "*":
        return True
    if "://*." not in allowed:
        return allowed == origin
    scheme, _, rest = allowed.partition("://*.")
    return origin.startswith(f"{scheme}://") and origin.endswith(f".{rest}")
