"""The operator's page: read-only, live, for admins only, and off until it is switched on."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

import msgspec

from trunkline.errors import AccessDeniedError, UsageError
from trunkline.gateway.answer import Answer, json_answer
from trunkline.gateway.context import Context
from trunkline.gateway.observer import Observer
from trunkline.gateway.request import Request, Send
from trunkline.model.channel import ChannelKey
from trunkline.wire.http import Headers

PAGE: Final = "/message-bus/_diagnostics"
STATE: Final = f"{PAGE}/state.json"

_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


class NotFoundError(UsageError):
    """Report that nothing is here; whether something might be is not told."""

    status = 404
    code = "not-found"


class DiagnosticsEndpoint:
    """Serve the page and its data.

    Args:
        context: What the gateway's endpoints share.
        observer: Knows the data.
    """

    def __init__(self, context: Context, observer: Observer) -> None:
        self._context = context
        self._observer = observer

    async def __call__(self, request: Request, send: Send) -> Answer:  # noqa: ARG002 - see Endpoint
        """Answer with the page or with the data."""
        if not self._context.options.diagnostics:
            raise NotFoundError("nothing is served under this path")
        identity = await self._context.admit(request)
        if not identity.is_admin:
            raise AccessDeniedError("diagnostics are for admins: this identity is none")
        return await self._state(request) if request.path == STATE else page_answer()

    async def _state(self, request: Request) -> Answer:
        after = _one(request, "after")
        key = None if after is None else ChannelKey(after, _one(request, "after_site"))
        state: dict[str, Any] = {
            "now": self._context.clock.now(),
            "processes": await self._observer.look(),
            "spoken": self._observer.spoken,
            "channels": await self._observer.channels(key),
        }
        return json_answer(msgspec.json.encode(state))


def _one(request: Request, name: str) -> str | None:
    return next(iter(request.query.get(name, ())), None)


@lru_cache(maxsize=1)
def page_answer() -> Answer:
    """Return the page, with a policy that lets it load nothing and run nothing but itself."""
    text = files("trunkline.gateway").joinpath("diagnostics.html").read_text("utf-8")
    hashes: dict[str, str] = {kind: _hash(inside) for kind, inside in _INLINE.findall(text)}
    policy = (
        f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers: Headers = [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("content-security-policy", policy),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    ]
    return Answer(200, headers, text.encode())


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
