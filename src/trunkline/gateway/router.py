"""From a path to the endpoint that serves it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from trunkline.errors import UsageError
from trunkline.gateway.answer import Answer
from trunkline.gateway.context import Endpoint
from trunkline.gateway.request import Request, Send
from trunkline.gateway.script import is_script_path
from trunkline.wire.entity_sync import DEFAULT_PATH

POLL_PREFIX = "/message-bus/"


class MethodNotAllowedError(UsageError):
    """Report a method that an endpoint does not serve."""

    status = 405
    code = "method-not-allowed"


class MethodFilter:
    """Let an endpoint have the methods it serves, and answer OPTIONS for it.

    Args:
        endpoint: The endpoint.
        methods: The methods it serves.
    """

    def __init__(self, endpoint: Endpoint, methods: Iterable[str]) -> None:
        self._endpoint = endpoint
        self._methods = tuple(methods)

    async def __call__(self, request: Request, send: Send) -> Answer | None:
        """Serve one request, or refuse its method."""
        allowed = ", ".join([*self._methods, "OPTIONS"])
        if request.method == "OPTIONS":
            return Answer(204, [("allow", allowed)])
        if request.method not in self._methods:
            raise MethodNotAllowedError(
                f"{request.method[:20]} is not served here: use {' or '.join(self._methods)}"
            )
        return await self._endpoint(request, send)


class Router:
    """Hold the endpoints of a gateway.

    Args:
        pages: Path below the base path to the endpoint for HTTP requests; one that ends in a
            slash stands for all right below it.
        poll: Serves every path below ``/message-bus/`` that *pages* does not name.
        script: Serves the browser client's modules.
        socket: Serves WebSockets at ``/ws``.
        old_socket: Serves entity-sync's WebSockets.
        old_path: Gives the path of those.
    """

    def __init__(
        self,
        pages: Mapping[str, Endpoint],
        *,
        poll: Endpoint | None,
        script: Endpoint | None,
        socket: Endpoint | None,
        old_socket: Endpoint | None = None,
        old_path: Callable[[], str] = lambda: DEFAULT_PATH,
    ) -> None:
        self._pages = dict(pages)
        self._script = script
        self._poll = poll
        self._socket = socket
        self._old_socket = old_socket
        self._old_path = old_path

    def find(self, request: Request) -> Endpoint | None:
        """Return the endpoint for a request, or None when it is not the gateway's."""
        if not request.is_ours:
            return None
        if request.scope["type"] == "websocket":
            if request.path == "/ws":
                return self._socket
            return self._old_socket if request.path == self._old_path() else None
        path = request.path
        page = self._pages.get(path) or self._pages.get(path[: path.rfind("/") + 1])
        if page is None and request.path.startswith(POLL_PREFIX):
            return self._poll
        if page is None and is_script_path(request.path):
            return self._script
        return page
