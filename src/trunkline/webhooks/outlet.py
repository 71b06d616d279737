"""The one way out: every request to a stranger's URL leaves here, through hook and guard."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import Final

import aiohttp
import msgspec
from aiohttp import http_exceptions
from yarl import URL

from trunkline.errors import TrunklineError
from trunkline.webhooks.guard import (
    BlockedError,
    CallTrace,
    Egress,
    GuardedConnector,
    check_session,
    current_trace,
    forbidden_headers,
)

#: Bytes of one header line of an answer.
HEADER_LINE: Final = 8190
#: Headers of an answer.
HEADER_COUNT: Final = 64


class Timing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Split the time of a call, in seconds; 0 for what did not happen.

    Args:
        names: Looking the name up.
        connect: Connecting, TLS included.
        first_byte: From the request to the answer's header.
        total: All.
    """

    names: float = 0.0
    connect: float = 0.0
    first_byte: float = 0.0
    total: float = 0.0


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """Be a request as the hook sees it, which may pass another one on.

    Args:
        purpose: ``delivery``, ``callback``, ``registration``, …
        url: Where to.
        body: What was signed, if it was.
        headers: All but those that the HTTP client sets.
        method: As a rule ``POST``.
        timeout: Seconds in total.
    """

    purpose: str
    url: str
    body: bytes = b""
    headers: Mapping[str, str] = {}
    method: str = "POST"
    timeout: float = 30.0

    def __repr__(self) -> str:
        return f"<Call {self.purpose} {self.method} {self.url}>"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Be what came back.

    Args:
        status: The status.
        headers: Names in lower case.
        body: Its beginning, encoded as it came.
        is_cut: Whether there was more.
        timing: How long it took.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_cut: bool
    timing: Timing


class CallFailedError(TrunklineError):
    """Report a call without an answer. The text can be shown to whoever owns the endpoint.

    Attributes:
        outcome: ``blocked``, ``dns``, ``refused``, ``tls``, ``timeout``, ``broken`` or
            ``bad_answer``.
        timing: How long it took.
    """

    code = "call-failed"

    def __init__(self, outcome: str, text: str, timing: Timing) -> None:
        super().__init__(text)
        self.outcome = outcome
        self.timing = timing


Send = Callable[[Call], Awaitable[Answer]]
#: Wraps every call: it gets the call and what sends it, and returns the answer.
Hook = Callable[[Call, Send], Awaitable[Answer]]


class Outlet:
    """Send requests through the hook and the egress guard.

    Args:
        egress: What may be called, for a session of our own.
        hook: Wraps every call.
        session: A session whose connector is a :class:`GuardedConnector`, instead of our own.
        response_bytes: Bytes of an answer that are read.

    Raises:
        BlockedError: The session would go around the guard.
    """

    def __init__(
        self,
        egress: Egress,
        *,
        hook: Hook | None = None,
        session: aiohttp.ClientSession | None = None,
        response_bytes: int = 16384,
    ) -> None:
        self.egress = egress
        self._hook = hook
        self._session = None if session is None else check_session(session)
        self._is_own = session is None
        self._limit = response_bytes

    async def open(self) -> None:
        """Make the session, unless one was given. Idempotent."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=GuardedConnector(self.egress, keepalive_timeout=30),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )

    async def close(self) -> None:
        """Close the session, if it is ours. Idempotent."""
        session = self._session
        if self._is_own and session is not None:
            self._session = None
            await session.close()

    async def send(self, call: Call) -> Answer:
        """Make a call.

        Raises:
            CallFailedError: There was no answer.
        """
        if self._hook is None:
            return await self._send(call)
        return await self._hook(call, self._send)

    async def _send(self, call: Call) -> Answer:
        trace, began = CallTrace(), perf_counter()
        token = current_trace.set(trace)
        try:
            url = self._checked(call)
            async with asyncio.timeout(call.timeout):
                return await self._exchange(call, url, trace, began)
        except Exception as error:  # whatever a stranger's server can cause
            outcome, text = outcome_of(error, trace)
            raise CallFailedError(outcome, text, _timing(trace, began)) from error
        finally:
            current_trace.reset(token)

    def _checked(self, call: Call) -> URL:
        if names := forbidden_headers([*call.headers]):
            raise BlockedError(f"the header {names[0]!r} is not for you to set")
        return self.egress.check_url(call.url)

    async def _exchange(self, call: Call, url: URL, trace: CallTrace, began: float) -> Answer:
        try:
            return await self._exchange_once(call, url, trace, began)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            # A connection that was kept open, and that the server had closed meanwhile.
            if trace.connecting_at or not trace.connected_at or trace.is_second:
                raise
            trace.is_second = True
            return await self._exchange_once(call, url, trace, began)

    async def _exchange_once(self, call: Call, url: URL, trace: CallTrace, began: float) -> Answer:
        assert self._session is not None, "open the outlet first"  # noqa: S101
        async with self._session.request(
            call.method,
            url,
            data=call.body or None,
            headers={"Accept-Encoding": "identity", **call.headers},
            allow_redirects=False,
            timeout=_NONE,
            max_line_size=HEADER_LINE,
            max_field_size=HEADER_LINE,
            max_headers=HEADER_COUNT,
            auto_decompress=False,
        ) as response:
            first = perf_counter()
            content, body = response.content, b""
            while len(body) <= self._limit and not content.at_eof():
                body += await content.read(self._limit + 1)
            if len(body) > self._limit:
                response.close()  # the rest is not wanted: the connection is not used again
            return Answer(
                status=response.status,
                headers={name.lower(): value for name, value in response.headers.items()},
                body=body[: self._limit],
                is_cut=len(body) > self._limit,
                timing=_timing(trace, began, first),
            )


#: The call's own limit counts, for everything together.
_NONE: Final = aiohttp.ClientTimeout(total=None, sock_connect=None)


def _timing(trace: CallTrace, began: float, first: float = 0.0) -> Timing:
    connected = trace.connected_at
    return Timing(
        names=round(trace.names, 6),
        connect=round(max(0.0, connected - trace.connecting_at), 6) if trace.connecting_at else 0.0,
        first_byte=round(first - connected, 6) if first and connected else 0.0,
        total=round(perf_counter() - began, 6),
    )


def outcome_of(error: Exception, trace: CallTrace) -> tuple[str, str]:
    """Name what went wrong, in words that tell a stranger nothing about the network here."""
    if trace.blocked is not None or isinstance(error, BlockedError):
        return "blocked", str(trace.blocked or error)
    if isinstance(error, TimeoutError):
        if trace.connected_at:
            return "timeout", "the endpoint did not answer in time"
        return "refused", "could not connect"
    for kinds, outcome, text in _KINDS:
        if isinstance(error, kinds):
            return outcome, text
    return "broken", "the connection broke"


_KINDS: Final[tuple[tuple[tuple[type[BaseException], ...], str, str], ...]] = (
    ((aiohttp.ClientConnectorDNSError,), "dns", "the host has no address"),
    (
        (aiohttp.ClientSSLError, ssl.SSLError, aiohttp.ServerFingerprintMismatch),
        "tls",
        "TLS failed: is the certificate valid for this host?",
    ),
    ((aiohttp.ClientConnectorError,), "refused", "could not connect"),
    (
        (aiohttp.ClientResponseError, http_exceptions.HttpProcessingError, ValueError),
        "bad_answer",
        "the answer can't be read",
    ),
)
