"""The services as HTTP applications: ASGI and WSGI around one function from request to answer."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from http import HTTPStatus
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl

import msgspec

from trunkline.errors import LimitExceededError, TrunklineError, UsageError
from trunkline.runtime.portal import Portal
from trunkline.wire.problem import problem_of

logger = logging.getLogger("trunkline.webhooks")

#: Bytes of a query string at most.
LONGEST_QUERY: Final = 8192
#: Parameters in it at most.
MOST_FIELDS: Final = 32
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
Middleware = Callable[[Application], Application]
#: Runs a coroutine function where the line lives, and returns what it returns.
Call = Callable[..., Any]


class ServiceRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Be a request.

    Args:
        method: The verb, as it came.
        query: What stands behind ``?``, as it came.
        headers: By name in lower case; repeated ones joined with commas.
        body: All of it.
    """

    method: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def parameters(self) -> dict[str, str]:
        """Return the query's parameters, of repeated ones the last.

        Raises:
            UsageError: There are too many.
        """
        try:
            return dict(parse_qsl(self.query, max_num_fields=MOST_FIELDS))
        except ValueError:
            raise UsageError(f"a query has at most {MOST_FIELDS} parameters") from None


class ServiceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Be an answer."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class ServiceCore(Protocol):
    """Answer requests."""

    @property
    def largest(self) -> int:
        """Bytes of a body at most."""

    async def answer(self, request: ServiceRequest) -> ServiceAnswer:
        """Answer one."""


class HttpService:
    """Be an ASGI application; :meth:`wsgi` is the other form.

    Args:
        core: Answers.
        middleware: Wraps it, the first outermost.
    """

    def __init__(self, core: ServiceCore, middleware: Sequence[Middleware] = ()) -> None:
        self._core = core
        self._application: Application = self._serve
        for wrap in reversed(middleware):
            self._application = wrap(self._application)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        await self._application(scope, receive, send)

    def wsgi(self, call: Call | None = None) -> WsgiService:
        """Return the WSGI form.

        Args:
            call: Runs a coroutine function on the loop that the line lives on; by default on one
                in a thread of its own, where the line then lives.
        """
        return WsgiService(self._core, call or Portal("trunkline services").call)

    async def _serve(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _idle(receive, send)
            return
        if scope["type"] != "http":
            await receive()
            await send({"type": f"{scope['type']}.close", "code": 1008})
            return
        headers = _joined(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
        )
        body = await _read(receive, headers, self._core.largest)
        if body is None:
            return
        answer = await _answered(
            self._core, scope["method"], scope["query_string"].decode("latin-1"), headers, body
        )
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": [(name.encode(), value.encode()) for name, value in answer.headers],
            }
        )
        body = b"" if scope["method"] == "HEAD" else answer.body
        await send({"type": "http.response.body", "body": body})


class WsgiService:
    """Be a WSGI application (PEP 3333).

    Args:
        core: Answers.
        call: Runs a coroutine function on the line's loop.
    """

    def __init__(self, core: ServiceCore, call: Call) -> None:
        self._core = core
        self._call = call

    def __call__(self, environ: Mapping[str, Any], start_response: Any) -> Iterable[bytes]:
        """Serve one request."""
        names = {name: value for name, value in environ.items() if name.startswith("HTTP_")}
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").lower(): value
            for name, value in names.items()
        }
        for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            if environ.get(name):
                headers[name.replace("_", "-").lower()] = environ[name]
        length = headers.get("content-length", "0")
        size = int(length) if length.isascii() and length.isdigit() and len(length) < 16 else 0
        body = environ["wsgi.input"].read(min(size, self._core.largest + 1)) if size else b""
        method = environ["REQUEST_METHOD"]
        query = environ.get("QUERY_STRING", "")
        answer = self._call(_answered, self._core, method, query, headers, body)
        status = HTTPStatus(answer.status)
        start_response(f"{status.value} {status.phrase}", list(answer.headers))
        return [b"" if method == "HEAD" else answer.body]


async def _answered(
    core: ServiceCore, method: str, query: str, headers: Mapping[str, str], body: bytes
) -> ServiceAnswer:
    try:
        if len(body) > core.largest:
            raise LimitExceededError("body", core.largest, status=413)
        if len(query) > LONGEST_QUERY:
            raise LimitExceededError("query", LONGEST_QUERY, status=414)
        answer = await core.answer(
            ServiceRequest(method=method, query=query, headers=headers, body=body)
        )
    except Exception as error:
        if not isinstance(error, TrunklineError):
            logger.exception("a request could not be answered")
        answer = _problem(error)
    if answer.status == HTTPStatus.NO_CONTENT:
        return answer
    size = ("content-length", str(len(answer.body)))
    return msgspec.structs.replace(answer, headers=(*answer.headers, size))


def _problem(error: Exception) -> ServiceAnswer:
    found = problem_of(error)
    headers = [("content-type", "application/problem+json")]
    if found.status == HTTPStatus.UNAUTHORIZED:
        headers.append(("www-authenticate", 'Basic realm="trunkline"'))
    wait = getattr(error, "retry_after", None)
    if wait is not None:
        headers.append(("retry-after", str(int(wait))))
    return ServiceAnswer(status=found.status, headers=tuple(headers), body=found.encode())


async def _read(receive: Receive, headers: Mapping[str, str], largest: int) -> bytes | None:
    """Read a body up to a byte more than is allowed; None when the client left."""
    length = headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length[:16]) > largest:
        return bytes(largest + 1)  # enough to be refused; the rest is not waited for
    body = bytearray()
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return None
        body += event.get("body", b"")
        if len(body) > largest or not event.get("more_body", False):
            return bytes(body[: largest + 1])


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        low = name.lower()
        found[low] = f"{found[low]}, {value}" if low in found else value
    return found


async def _idle(receive: Receive, send: Send) -> None:
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return
