"""WSGI: message_bus's poll protocol, and all else that answers at once, from plain WSGI servers.

A WSGI worker can't hold a request open without being lost to all others, so polls are answered as
those with ``dlp=t`` are, and streams not at all: ``trunkline serve`` beside the application holds
and streams, on the same line. Behind the door is the gateway itself, on the loop of the line.

application = LineMiddleware(application, line, path="/events", identify=…, access=…)
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from trunkline.gateway.access import Access
from trunkline.gateway.request import Event, Request, Scope
from trunkline.model.identity import ANONYMOUS, Identity
from trunkline.sync import Trunkline

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]
#: Says who a request of WSGI comes from; called in the thread that serves it.
IdentifyEnviron = Callable[[Environ], Identity | None]

IDENTITY: Final = "trunkline.identity"
#: What holds or streams, and is served by ``trunkline serve`` alone.
STREAMS: Final = ("/sse", "/ws")


class Reply(NamedTuple):
    """Be a whole answer, as WSGI and its frameworks take it."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Counter:
    """Answer requests of WSGI with the gateway of a line, without holding any.

    Args:
        line: The line.
        identify: Called with WSGI's environment, in the thread that serves the request; returns
            the identity, or None for a stranger (401). It may block.
        access: Called with identity and channel, in a thread where it may block and use the
            line; True lets it read the channel.
        open: Say True to do without one of these two and let everybody in.

    Raises:
        ConfigError: A hook is missing.
    """

    def __init__(
        self,
        line: Trunkline,
        *,
        identify: IdentifyEnviron | None = None,
        access: Access | None = None,
        open: bool = False,  # noqa: A002 - the word an application says
    ) -> None:
        self._line = line
        self._identify = identify
        self._gateway = line.asynchronous.gateway(
            identify=None if identify is None else _told_identity,
            access=None if access is None else _in_thread(access),
            open=open,
        )

    def answer(self, environ: Environ, path: str) -> Reply:
        """Answer a request.

        Args:
            environ: WSGI's environment.
            path: The path below the place where clients reach the line, such as
                ``/message-bus/abc/poll``.

        Raises:
            Exception: Whatever the identity hook raises.
        """
        if path in STREAMS:
            text = "this is a WSGI server, which can't stream: poll, or use `trunkline serve`"
            return Reply(501, [("content-type", "text/plain; charset=utf-8")], text.encode())
        options = self._line.asynchronous.gateway_options
        scope = scope_of(environ, options.base_path + path)
        if self._identify is not None and environ["REQUEST_METHOD"] != "OPTIONS":
            scope[IDENTITY] = self._identify(environ)
        body = _body(environ, options.max_body_bytes)
        reply: Reply = self._line.call_gated(_exchange, self._gateway, scope, body)
        return reply


class LineMiddleware:
    """Wrap a WSGI application so that clients reach the line beside it.

    Args:
        application: The application; it gets all requests outside *path*.
        line: The line, of :mod:`trunkline.sync`.
        path: Where clients reach it; empty for the root, where only ``/message-bus/…`` and the
            browser client's files are taken.
        **hooks: ``identify``, ``access`` and ``open``, as for :class:`Counter`.

    Raises:
        ConfigError: A hook is missing.
    """

    def __init__(
        self, application: Application, line: Trunkline, *, path: str = "", **hooks: Any
    ) -> None:
        self._application = application
        self._path = path.rstrip("/")
        self._counter = Counter(line, **hooks)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a request."""
        path = str(environ.get("PATH_INFO", "")).encode("latin-1").decode("utf-8", "replace")
        if not self._is_ours(path):
            return self._application(environ, start_response)
        reply = self._counter.answer(environ, path.removeprefix(self._path))
        start_response(status_line(reply.status), reply.headers)
        return [reply.body]

    def _is_ours(self, path: str) -> bool:
        if self._path:
            return path.startswith(self._path + "/")
        return path.startswith(("/message-bus/", "/trunkline/", "/trunkline."))


def status_line(status: int) -> str:
    """Return a status as WSGI wants it, with its phrase."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status} Other"


def _told_identity(request: Request) -> Identity | None:
    found: Identity | None = request.scope.get(IDENTITY, ANONYMOUS)
    return found


def _in_thread(access: Access) -> Access:
    if inspect.iscoroutinefunction(access):
        return access

    async def ask(identity: Identity, channel: str) -> bool:
        answer: Any = await asyncio.to_thread(access, identity, channel)
        return answer is True

    return ask


def scope_of(environ: Environ, path: str) -> Scope:
    """Return the ASGI scope of a request; see PEP 3333 and the ASGI specification.

    Args:
        environ: WSGI's environment.
        path: The path as the gateway shall see it.
    """
    query = str(environ.get("QUERY_STRING", "")).encode("latin-1")
    if "/message-bus/" in path:
        query = query + b"&dlp=t" if query else b"dlp=t"
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": str(environ.get("SERVER_PROTOCOL", "HTTP/1.1")).rpartition("/")[2],
        "scheme": environ.get("wsgi.url_scheme", "http"),
        "method": environ["REQUEST_METHOD"],
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query,
        "headers": list(_headers(environ)),
        "client": (environ.get("REMOTE_ADDR", ""), 0),
        "server": (environ.get("SERVER_NAME", ""), int(environ.get("SERVER_PORT") or 0)),
        "wsgi.environ": environ,
    }


def _headers(environ: Mapping[str, Any]) -> Iterable[tuple[bytes, bytes]]:
    for key, value in environ.items():
        name = key.removeprefix("HTTP_")
        if name != key or (key in {"CONTENT_TYPE", "CONTENT_LENGTH"} and value):
            yield name.replace("_", "-").lower().encode("latin-1"), str(value).encode("latin-1")


def _body(environ: Mapping[str, Any], limit: int) -> bytes:
    """Read a body; of one that is too long, enough for the gateway to refuse it."""
    declared = str(environ.get("CONTENT_LENGTH") or "")
    length = int(declared[:19]) if declared.isascii() and declared.isdigit() else 0
    if not length and environ.get("wsgi.input_terminated"):
        length = limit + 1
    read: bytes = environ["wsgi.input"].read(min(length, limit + 1)) if length else b""
    return read


async def _exchange(gateway: Any, scope: Scope, body: bytes) -> Reply:
    status, headers, parts = 500, [], list[bytes]()

    async def receive() -> Event:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(event: Event) -> None:
        nonlocal status, headers
        if event["type"] == "http.response.start":
            status = event["status"]
            headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in event["headers"]]
        else:
            parts.append(event.get("body", b""))

    await gateway(scope, receive, send)
    return Reply(status, [one for one in headers if one[0] != "connection"], b"".join(parts))
