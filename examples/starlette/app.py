"""Starlette: the gateway beside the application's routes, and its authentication for both.

pip install trunkline starlette
python examples/starlette/app.py
curl -N -H 'Authorization: Bearer ann' 'localhost:8000/events/sse?channels=/users/ann/orders' &
curl -H 'Authorization: Bearer ann' -X POST localhost:8000/orders/7
"""

import uvicorn
from starlette.applications import Starlette
from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    SimpleUser,
    requires,
)
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from trunkline import Identity, Trunkline
from trunkline.integrations.starlette import gateway_route, lifespan, line_of, user_identity

USERS = ("ann", "bob")


class Tokens(AuthenticationBackend):
    """Know users by their tokens, which are their names here."""

    async def authenticate(self, conn: HTTPConnection):
        """Return who it is, if anybody."""
        name = conn.headers.get("authorization", "").removeprefix("Bearer ")
        return (AuthCredentials(["authenticated"]), SimpleUser(name)) if name in USERS else None


def may_read(identity: Identity, channel: str) -> bool:
    """Let users read what is below their own name."""
    return channel.startswith(f"/users/{identity.user_id}/")


@requires("authenticated")
async def place(request: Request) -> JSONResponse:
    channel = f"/users/{request.user.username}/orders"
    receipt = await line_of(request).publish(channel, {"order": request.path_params["order"]})
    return JSONResponse({"message_id": receipt.message_id})


line = Trunkline()
app = Starlette(
    routes=[
        Route("/orders/{order:int}", place, methods=["POST"]),
        gateway_route(line, "/events", identify=user_identity, access=may_read),
    ],
    middleware=[Middleware(AuthenticationMiddleware, backend=Tokens())],
    lifespan=lifespan(line),
)

if __name__ == "__main__":
    uvicorn.run(app, port=8000, timeout_graceful_shutdown=5)
