"""The gateway as an ASGI application: it finds the endpoint, and answers whatever goes wrong."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable

from trunkline.errors import GrammarError
from trunkline.gateway.answer import Answer, problem_answer
from trunkline.gateway.context import Context, Endpoint
from trunkline.gateway.failures import Pairs, pairs_of
from trunkline.gateway.limits import check_size
from trunkline.gateway.request import ClientGoneError, Event, Receive, Request, Scope, Send
from trunkline.gateway.router import Router
from trunkline.wire.http import Headers, merge_headers
from trunkline.wire.problem import problem

logger = logging.getLogger("trunkline.gateway")

Application = Callable[[Scope, Receive, Send], Awaitable[None]]
ExtraHeaders = Callable[[Request], Awaitable[Pairs] | Pairs]


class Reception:
    """Receive requests for a set of endpoints.

    Args:
        context: What the endpoints share.
        router: Finds them.
        extra_headers: Called with each request; returns headers for its answer.
        wrapped: Takes what is not the gateway's.
    """

    def __init__(
        self,
        context: Context,
        router: Router,
        *,
        extra_headers: ExtraHeaders | None = None,
        wrapped: Application | None = None,
    ) -> None:
        self._context = context
        self._router = router
        self._extra_headers = extra_headers
        self._wrapped = wrapped

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] not in {"http", "websocket"}:
            await self._pass_on(scope, receive, send)
            return
        request = Request(scope, receive, base_path=self._context.options.base_path)
        endpoint = self._router.find(request)
        if endpoint is None:
            await self._pass_on(scope, receive, send)
            return
        await self._serve(endpoint, request, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._wrapped is not None:
            await self._wrapped(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _idle_through_lifespan(receive, send)
        elif scope["type"] in {"http", "websocket"}:
            detail = "nothing is served under this path"
            answer = problem_answer(problem(404, "not-found", detail))
            await _deliver(Request(scope, receive), answer, send)

    async def _serve(self, endpoint: Endpoint, request: Request, send: Send) -> None:
        sender = _Sender(send)
        try:
            answer = await self._answer(endpoint, request, sender)
        except ClientGoneError:
            return
        except Exception as error:
            if sender.has_started:
                logger.exception("%r failed after its answer had begun", request)
                return
            answer = await self._context.failures.explain(request, error)
        if answer is not None:
            await _deliver(request, answer, sender)

    async def _answer(self, endpoint: Endpoint, request: Request, send: Send) -> Answer | None:
        context = self._context
        request.response_headers = context.origins.headers(request)
        check_size(request, context.options)
        if self._extra_headers is not None:
            given = self._extra_headers(request)
            pairs = await given if inspect.isawaitable(given) else given
            request.response_headers = _with_extra(request.response_headers, pairs)
        context.origins.check(request)
        return await endpoint(request, send)


class _Sender:
    """Pass events on, and know whether an answer has begun."""

    __slots__ = ("_send", "has_started")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_started = False

    async def __call__(self, event: Event) -> None:
        self.has_started = True
        await self._send(event)


def _with_extra(headers: Headers, extra: Pairs) -> Headers:
    try:
        return merge_headers(headers, pairs_of(extra))
    except GrammarError as error:
        # The application's mistake, which no client should be told is its own.
        raise ValueError(f"extra_headers returned what is no header: {error}") from error


async def _deliver(request: Request, answer: Answer, send: Send) -> None:
    complete = answer.with_headers(request.response_headers)
    if request.scope["type"] == "websocket":
        await _deny(request, complete, send)
        return
    if answer.status in {408, 413} and request.http_version.startswith("1"):
        # What is left of the request's body must not be waited for, nor taken for a request.
        complete = complete.with_headers([("connection", "close")])
    await complete.send(send, without_body=request.method == "HEAD")


async def _deny(request: Request, answer: Answer, send: Send) -> None:
    """Refuse a WebSocket before it is accepted, with our problem where the server can say it."""
    if "websocket.http.response" in (request.scope.get("extensions") or {}):
        await answer.send(send, prefix="websocket.http.response")
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": "refused"})


async def _idle_through_lifespan(receive: Receive, send: Send) -> None:
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return
