"""A request as the gateway sees it: an ASGI scope with what hooks and endpoints ask of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs

from trunkline.errors import LimitExceededError, TrunklineError, UsageError
from trunkline.wire.http import Headers

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]


class ClientGoneError(TrunklineError):
    """Report that the client went away while its request was being read: nobody to answer."""

    status = 499
    code = "client-gone"


class Request:
    """Read an HTTP request or a WebSocket's handshake.

    Args:
        scope: The ASGI scope, of type ``http`` or ``websocket``.
        receive: ASGI's receive.
        base_path: What to take off the path, besides the scope's ``root_path``.
    """

    def __init__(self, scope: Scope, receive: Receive, *, base_path: str = "") -> None:
        self.scope = scope
        self.receive = receive
        self._base_path = base_path
        #: CORS headers and the application's extra ones, which every answer carries.
        self.response_headers: Headers = []
        #: When its identity was asked for, monotonic seconds.
        self.admitted_at = 0.0

    @property
    def method(self) -> str:
        """Return the method; a WebSocket's is GET."""
        return str(self.scope.get("method", "GET"))

    @cached_property
    def is_ours(self) -> bool:
        """Tell whether the path lies below the base path."""
        below = self._below_root
        return below == self._base_path or below.startswith(self._base_path + "/")

    @cached_property
    def path(self) -> str:
        """Return the decoded path below the base path; the whole path where it is not ours."""
        below = self._below_root
        return below[len(self._base_path) :] or "/" if self.is_ours else below

    @cached_property
    def _below_root(self) -> str:
        path, root = str(self.scope["path"]), str(self.scope.get("root_path", "")).rstrip("/")
        # By the ASGI specification the path includes the root path; some servers leave it out.
        return path[len(root) :] or "/" if path == root or path.startswith(root + "/") else path

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """Return the headers, names in lower case, repeated ones joined with commas."""
        found: dict[str, str] = {}
        for raw_name, raw_value in self.scope["headers"]:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            found[name] = f"{found[name]}, {value}" if name in found else value
        return found

    def header(self, name: str) -> str | None:
        """Return a header by its lower-case name, or None."""
        return self.headers.get(name)

    @property
    def raw_query(self) -> bytes:
        """Return the query string, undecoded, without its question mark."""
        return bytes(self.scope.get("query_string", b""))

    @cached_property
    def query(self) -> Mapping[str, list[str]]:
        """Return the query's fields, each with its values in order.

        Raises:
            UsageError: The query string is not UTF-8, or has far too many fields.
        """
        try:
            text = self.raw_query.decode()
            return parse_qs(text, keep_blank_values=True, errors="strict", max_num_fields=10_000)
        except ValueError as error:
            raise UsageError(f"the query string is no UTF-8 text: {error}") from error

    @cached_property
    def cookies(self) -> Mapping[str, str]:
        """Return the cookies; of several with one name the first counts."""
        found: dict[str, str] = {}
        for part in self.headers.get("cookie", "").replace(",", ";").split(";"):
            name, equals, value = part.strip().partition("=")
            if equals:
                found.setdefault(name, value.strip('"'))
        return found

    @property
    def bearer(self) -> str | None:
        """Return the token of an ``Authorization: Bearer`` header, or None."""
        scheme, _, token = (self.header("authorization") or "").strip().partition(" ")
        return token.strip() or None if scheme.lower() == "bearer" else None

    @property
    def http_version(self) -> str:
        """Return ``1.0``, ``1.1``, ``2`` or ``3``."""
        return str(self.scope.get("http_version", "1.1"))

    @property
    def address(self) -> str:
        """Return the client's network address, empty where the server does not know it."""
        client = self.scope.get("client")
        return str(client[0]) if client else ""

    async def body(self, limit: int, *, timeout: float | None = None) -> bytes:
        """Read the body to its end.

        Args:
            limit: Bytes it may have; more are not kept.
            timeout: Seconds it may take; None for ever.

        Returns:
            The body.

        Raises:
            LimitExceededError: It is too large (413) or too slow (408).
            ClientGoneError: The client went away.
        """
        declared = self.header("content-length") or ""
        if declared.isascii() and declared.isdigit() and int(declared[:19]) > limit:
            raise LimitExceededError("max_body_bytes", limit, status=413)
        try:
            async with asyncio.timeout(timeout):
                return await self._read(limit)
        except TimeoutError:
            raise LimitExceededError("body_timeout", timeout or 0, status=408) from None

    async def _read(self, limit: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            event = await self.receive()
            if event["type"] == "http.disconnect":
                raise ClientGoneError("the client went away before its request was complete")
            part = event.get("body", b"")
            size += len(part)
            if size > limit:
                raise LimitExceededError("max_body_bytes", limit, status=413)
            parts.append(part)
            if not event.get("more_body", False):
                return b"".join(parts)

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path}>"
