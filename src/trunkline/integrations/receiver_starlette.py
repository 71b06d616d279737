"""Receiving webhooks in Starlette and FastAPI: a dependency, or an endpoint around a handler.

@app.post("/hooks")
async def hook(delivery: Annotated[Delivery, Depends(received(inbox))]) -> Response: ...
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from trunkline.errors import UsageError
from trunkline.webhooks.inbox import Delivery, Inbox


def received(inbox: Inbox) -> Callable[[Request], Awaitable[Delivery]]:
    """Return what verifies a request: a dependency of FastAPI, or to be called by yourself.

    Args:
        inbox: Knows the sender.
    """

    async def verified(request: Request) -> Delivery:
        try:
            return inbox.verify(request.headers, await _body(request, inbox.largest))
        except UsageError as error:
            raise HTTPException(error.status, str(error)) from error

    return verified


def webhook(
    inbox: Inbox, handler: Callable[[Delivery], Awaitable[object]]
) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint that answers 204 once the handler has returned.

    What the handler raises is a failure, and the sender tries again.

    Args:
        inbox: Knows the sender.
        handler: Called with what is proven to come from it.
    """
    verified = received(inbox)

    async def endpoint(request: Request) -> Response:
        await handler(await verified(request))
        return Response(status_code=204)

    return endpoint


async def _body(request: Request, largest: int) -> bytes:
    """Read a body, up to one byte more than is allowed."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > largest:
            break
    return bytes(body)
