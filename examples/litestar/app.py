"""Litestar: one plugin, and the line is injected where a handler asks for it.

pip install trunkline litestar
python examples/litestar/app.py
curl -N -H 'Authorization: Bearer ann' 'localhost:8000/events/sse?channels=/users/ann/orders' &
curl -H 'Authorization: Bearer ann' -X POST localhost:8000/orders/7
"""

from typing import Any

import uvicorn
from litestar import Litestar, Request, post
from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult
from litestar.params import FromPath

from trunkline import Identity, Trunkline
from trunkline.integrations.litestar import Line, TrunklinePlugin, user_identity

USERS = ("ann", "bob")


class Tokens(AbstractAuthenticationMiddleware):
    """Know users by their tokens, which are their names here."""

    async def authenticate_request(self, connection: ASGIConnection) -> AuthenticationResult:
        """Return who it is."""
        name = connection.headers.get("authorization", "").removeprefix("Bearer ")
        if name not in USERS:
            raise NotAuthorizedException
        return AuthenticationResult(user=name, auth=None)


def may_read(identity: Identity, channel: str) -> bool:
    """Let users read what is below their own name."""
    return channel.startswith(f"/users/{identity.user_id}/")


@post("/orders/{order:int}", status_code=200)
async def place(
    order: FromPath[int], request: Request[str, None, Any], line: Line
) -> dict[str, int]:
    receipt = await line.publish(f"/users/{request.user}/orders", {"order": order})
    return {"message_id": receipt.message_id}


app = Litestar(
    [place],
    middleware=[Tokens],
    plugins=[TrunklinePlugin(Trunkline(), "/events", identify=user_identity, access=may_read)],
)

if __name__ == "__main__":
    uvicorn.run(app, port=8000, timeout_graceful_shutdown=5)
